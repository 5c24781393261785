// The link to the gateway: the socket, greetings, numbers both ways, heartbeats. docs/venue-link.md is the wire.
//
// Invariants: a command is executed once and in order, whatever is cut; a report is kept until the gateway has it. Where too
// many are kept, all are forgotten: the session gets another name, and the gateway asks for what it has missed. What waits to
// be sent, and what was received of an unfinished line, is bounded.

#define LINK_VERSION 2
#define LINK_LINE_BYTES_MAX 65536
#define LINK_READ_BYTES_MAX 65536
#define LINK_READS_PER_TURN_MAX 16
#define LINK_CHUNK_BYTES 16384
#define LINK_UNSENT_BYTES_MAX 4194304
// So many unsent bytes keep prices waiting in the terminal: reports go first.
#define LINK_UNSENT_BYTES_BUSY 262144
#define LINK_REPORTS_MAX 4096
#define LINK_ACKNOWLEDGED_EVERY 256
#define LINK_GREETING_MS 5000
#define LINK_CONNECT_MS 1000
#define LINK_RETRY_DOUBLINGS 4

enum LINK_STATE {
    LINK_CLOSED,
    LINK_GREETING,
    LINK_UP
};

LINK_STATE linkState = LINK_CLOSED;
int linkSocket = INVALID_HANDLE;
// Ours, new whenever what was said is forgotten; and the gateway's of its last welcome.
string linkSession = "";
long linkLapses = 0;
string linkPeer = "";
// The greatest fence of any welcome: a gateway that says less owns the market no more.
long linkFence = 0;
// Clocks in milliseconds, as GetTickCount64 counts them.
ulong linkHeardMs = 0;
ulong linkSilenceMs = 0;
ulong linkBeatMs = 0;
ulong linkRetryMs = 0;
int linkFailures = 0;

// The number of the command that is expected next, and how many came since that was told.
long commandNext = 1;
int commandsUntold = 0;
// Kept reports by their number modulo LINK_REPORTS_MAX: from reportFirst up to but not including reportNext.
string reportLines[LINK_REPORTS_MAX];
long reportFirst = 1;
long reportNext = 1;

ARRAY(uchar, linkInbox);
int linkInboxSize = 0;
ARRAY(uchar, linkOutbox);
int linkOutboxSize = 0;
int linkOutboxSent = 0;
ARRAY(uchar, linkScratch);

// Begins without any memory: a terminal keeps variables when the chart or the inputs change.
void LinkInit() {
    linkPeer = "";
    linkLapses = 0;
    linkFence = 0;
    linkFailures = 0;
    linkRetryMs = 0;
    commandNext = 1;
    reportFirst = 1;
    reportNext = 1;
    MathSrand((int)GetTickCount());
    linkSession = IntegerToString((long)TimeGMT()) + "-" + IntegerToString((long)GetMicrosecondCount() % 1000000) + "-" +
                  IntegerToString(MathRand());
}

// Connects, reads and answers, cuts who is silent.
void LinkTurn(const ulong nowMs) {
    if(linkState == LINK_CLOSED) {
        if(nowMs >= linkRetryMs)
            LinkConnect();
        return;
    }
    LinkRead();
    const ulong readMs = GetTickCount64();
    if(linkState != LINK_CLOSED && readMs - linkHeardMs >= linkSilenceMs)
        LinkCut("silent for too long");
    if(linkState == LINK_UP && (readMs >= linkBeatMs || commandsUntold >= LINK_ACKNOWLEDGED_EVERY))
        LinkBeat();
}

void LinkConnect() {
    linkSocket = SocketCreate();
    if(linkSocket == INVALID_HANDLE) {
        LinkFailed("no socket");
        return;
    }
    if(!SocketConnect(linkSocket, InpHost, (uint)InpPort, LINK_CONNECT_MS)) {
        LinkFailed("cannot connect to " + InpHost + ":" + IntegerToString(InpPort));
        return;
    }
    SocketTimeouts(linkSocket, LINK_CONNECT_MS, LINK_CONNECT_MS);
    Print("tickring: connected to ", InpHost, ":", IntegerToString(InpPort));
    linkInboxSize = 0;
    linkOutboxSize = 0;
    linkOutboxSent = 0;
    linkState = LINK_GREETING;
    linkHeardMs = GetTickCount64();
    linkSilenceMs = LINK_GREETING_MS;
    commandsUntold = 0;
    LinkSay("{\"type\":\"hello\",\"version\":" + IntegerToString(LINK_VERSION) + JsonTextField("venue", InpVenue) +
            JsonTextField("key", InpKey) + JsonTextField("session", linkSession + "." + IntegerToString(linkLapses)) +
            JsonTextField("peer", linkPeer) + JsonWholeField("next", commandNext) +
            JsonWholeField("heartbeat_ms", InpHeartbeatMs) + "}");
}

// What could not be connected is tried again, after a wait that doubles to sixteen times.
void LinkFailed(const string why) {
    // The first failure of a row is worth a line.
    if(linkFailures == 0)
        Print("tickring: ", why, " (error ", IntegerToString(GetLastError()), "), trying on");
    LinkRest();
}

// Ends the connection, and says why to who is still there.
void LinkCut(const string why) {
    if(linkState == LINK_UP)
        LinkSay("{\"type\":\"bye\"" + JsonTextField("reason", why) + "}");
    LinkLeave(why);
}

// Ends the connection of a gateway whose fence is older than one that was said before: nothing of it is taken.
void LinkRefuse(const long fence) {
    const string why = "fence " + IntegerToString(fence) + " is older than " + IntegerToString(linkFence);
    LinkSay("{\"type\":\"bye\"" + JsonTextField("reason", why) + JsonWholeField("fence", linkFence) + "}");
    LinkLeave(why);
}

// Ends the connection behind what is to be said on it.
void LinkLeave(const string why) {
    // A part may be taken at a time.
    for(int i = 0; i < 4 && linkOutboxSent < linkOutboxSize; i++)
        LinkFlush();
    LinkClosed(why);
}

// The connection is over.
void LinkClosed(const string why) {
    if(linkState == LINK_CLOSED)
        return;
    Print("tickring: disconnected: ", why);
    LinkRest();
}

void LinkRest() {
    if(linkSocket != INVALID_HANDLE)
        SocketClose(linkSocket);
    linkSocket = INVALID_HANDLE;
    linkState = LINK_CLOSED;
    linkRetryMs = GetTickCount64() + ((ulong)InpRetryMs << linkFailures);
    if(linkFailures < LINK_RETRY_DOUBLINGS)
        linkFailures++;
}

void LinkSay(const string line) {
    if(linkState == LINK_CLOSED)
        return;
    ARRAY(uchar, bytes);
    // Its last byte is the zero behind the text.
    const int size = StringToCharArray(line + "\n", bytes, 0, WHOLE_ARRAY, CP_UTF8) - 1;
    if(linkOutboxSize + size - linkOutboxSent > LINK_UNSENT_BYTES_MAX) {
        LinkClosed("too far behind");
        return;
    }
    ArrayResize(linkOutbox, linkOutboxSize + size, LINK_CHUNK_BYTES);
    ArrayCopy(linkOutbox, bytes, linkOutboxSize, 0, size);
    linkOutboxSize += size;
}

// Whether prices have to wait.
bool LinkIsBusy() {
    return linkOutboxSize - linkOutboxSent > LINK_UNSENT_BYTES_BUSY;
}

// Sends what the socket takes; it may take a part only.
void LinkFlush() {
    while(linkState != LINK_CLOSED && linkOutboxSent < linkOutboxSize && SocketIsWritable(linkSocket)) {
        const int size = MathMin(linkOutboxSize - linkOutboxSent, LINK_CHUNK_BYTES);
        ArrayResize(linkScratch, size);
        ArrayCopy(linkScratch, linkOutbox, 0, linkOutboxSent, size);
        const int sent = SocketSend(linkSocket, linkScratch, (uint)size);
        if(sent < 0) {
            LinkClosed("the connection was closed");
            return;
        }
        linkOutboxSent += sent;
        if(sent < size)
            break;
    }
    if(linkOutboxSent == linkOutboxSize) {
        linkOutboxSize = 0;
        linkOutboxSent = 0;
    } else if(linkOutboxSent > LINK_UNSENT_BYTES_BUSY) {
        ArrayRemove(linkOutbox, 0, (uint)linkOutboxSent);
        linkOutboxSize -= linkOutboxSent;
        linkOutboxSent = 0;
    }
}

// Takes what has come, as often as there is more.
void LinkRead() {
    for(int i = 0; i < LINK_READS_PER_TURN_MAX && linkState != LINK_CLOSED; i++)
        if(!LinkReadSome())
            return;
}

// SocketIsReadable may say 1 where nothing is there or more is; SocketRead says -1 where nothing came in its time, and takes a time
// of 0 for two minutes. Neither is an end: a socket that is not connected is, or a gateway that is silent.
bool LinkReadSome() {
    const uint readable = SocketIsReadable(linkSocket);
    const uint room = LINK_READ_BYTES_MAX;
    int size = 0;
    ArrayFree(linkScratch);
    if(readable > 0)
        size = SocketRead(linkSocket, linkScratch, readable < room ? readable : room, 1);
    if(size <= 0) {
        if(!SocketIsConnected(linkSocket))
            LinkClosed("the connection was closed");
        return false;
    }
    linkHeardMs = GetTickCount64();
    ArrayResize(linkInbox, linkInboxSize + size, LINK_READ_BYTES_MAX);
    ArrayCopy(linkInbox, linkScratch, linkInboxSize, 0, size);
    linkInboxSize += size;
    LinkLines();
    return true;
}

void LinkLines() {
    int start = 0;
    for(int i = 0; i < linkInboxSize && linkState != LINK_CLOSED; i++) {
        if(linkInbox[i] != '\n')
            continue;
        LinkLine(start, i);
        start = i + 1;
    }
    if(linkState == LINK_CLOSED)
        return;
    if(start > 0) {
        ArrayRemove(linkInbox, 0, (uint)start);
        linkInboxSize -= start;
    }
    if(linkInboxSize >= LINK_LINE_BYTES_MAX)
        LinkCut("a message of more than " + IntegerToString(LINK_LINE_BYTES_MAX) + " bytes");
}

void LinkLine(const int from, const int to) {
    JsonReader blanks;
    blanks.at = from;
    blanks.end = to;
    blanks.fault = "";
    JsonBlanks(linkInbox, blanks);
    if(blanks.at == to)
        return;
    JsonObject message;
    string type = "";
    if(!JsonRead(linkInbox, from, to, message))
        LinkCut(message.fault);
    else if(!JsonText(message, "type", type))
        LinkCut("type is missing");
    else
        LinkMessage(message, type);
}

void LinkMessage(const JsonObject &message, const string type) {
    if(type == "bye" || type == "reject") {
        string reason = "";
        JsonText(message, "reason", reason);
        LinkClosed("ended by the peer: " + reason);
    } else if(linkState == LINK_GREETING) {
        if(type == "welcome")
            LinkWelcome(message);
        else
            LinkCut(type + " is not expected here");
    } else if(type == "heartbeat") {
        long next = 0;
        if(!JsonWhole(message, "next", next))
            LinkCut("next is not valid");
        else if(!ReportsAcknowledge(next))
            LinkCut("next " + IntegerToString(next) + " was never said");
    } else if(type == "new" || type == "amend" || type == "cancel" || type == "status")
        LinkCommand(message, type);
    else
        LinkCut(type == "welcome" ? "welcome is not expected here" : "an unknown type");
}

void LinkWelcome(const JsonObject &message) {
    long version = 0;
    long next = 0;
    long heartbeat = 0;
    string session = "";
    if(!JsonWhole(message, "version", version) || version < 1 || version > LINK_VERSION) {
        LinkCut("version " + IntegerToString(version) + " is not spoken here");
        return;
    }
    if(!JsonWhole(message, "next", next) || !JsonWhole(message, "heartbeat_ms", heartbeat) ||
       !JsonText(message, "session", session) || heartbeat < 10 || heartbeat > 60000) {
        LinkCut("the welcome is not valid");
        return;
    }
    long fence = 0;
    if(JsonFind(message, "fence") >= 0 && !JsonWhole(message, "fence", fence)) {
        LinkCut("fence is not valid");
        return;
    }
    // Before anything is forgotten or said for it: what is kept is for who owns the market.
    if(fence < linkFence) {
        LinkRefuse(fence);
        return;
    }
    linkFence = fence;
    linkPeer = session;
    const bool resumed = JsonFlag(message, "resumed");
    if(!resumed) {
        commandNext = 1;
        reportFirst = 1;
        reportNext = 1;
    } else if(!ReportsAcknowledge(next)) {
        LinkCut("next " + IntegerToString(next) + " was never said");
        return;
    }
    Print("tickring: welcomed, ", resumed ? "goes on where it was" : "begins anew");
    linkState = LINK_UP;
    linkFailures = 0;
    linkSilenceMs = (ulong)heartbeat * 5 / 2;
    linkBeatMs = GetTickCount64();
    if(!resumed)
        OrdersForgotten();
    for(long seq = reportFirst; seq < reportNext; seq++)
        LinkSay(reportLines[(int)(seq % LINK_REPORTS_MAX)]);
    MarketsTell();
}

void LinkCommand(const JsonObject &message, const string type) {
    long seq = 0;
    long order = 0;
    if(!JsonWhole(message, "seq", seq) || !JsonWhole(message, "order", order) || seq == 0 || order == 0) {
        LinkCut("seq or order is not valid");
        return;
    }
    if(seq > commandNext) {
        LinkCut("seq " + IntegerToString(seq) + " where " + IntegerToString(commandNext) + " is expected");
        return;
    }
    // What was here before is dropped.
    if(seq < commandNext)
        return;
    if(!CommandRead(message, type, (ulong)order)) {
        LinkCut("a field of " + type + " is missing or not valid");
        return;
    }
    commandNext++;
    commandsUntold++;
    CommandHandle();
}

void LinkBeat() {
    LinkSay("{\"type\":\"heartbeat\",\"next\":" + IntegerToString(commandNext) + "}");
    commandsUntold = 0;
    linkBeatMs = GetTickCount64() + (ulong)InpHeartbeatMs;
}

// Says something of an order, now and again until the gateway has it. `fields` begin with a comma.
void ReportSay(const string type, const ulong order, const string fields) {
    if(reportNext - reportFirst == LINK_REPORTS_MAX) {
        linkLapses++;
        reportFirst = 1;
        reportNext = 1;
        Print("tickring: the gateway does not acknowledge, all reports are forgotten");
        LinkCut("too far behind");
        return;
    }
    const string line = "{\"type\":\"" + type + "\",\"seq\":" + IntegerToString(reportNext) +
                        ",\"order\":" + IntegerToString((long)order) + fields + "}";
    reportLines[(int)(reportNext % LINK_REPORTS_MAX)] = line;
    reportNext++;
    if(linkState == LINK_UP)
        LinkSay(line);
}

// The gateway has all before `next`; false where that can't be.
bool ReportsAcknowledge(const long next) {
    if(next < reportFirst || next > reportNext)
        return false;
    reportFirst = next;
    return true;
}
