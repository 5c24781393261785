// The symbols that are told: what they are, their ticks, whether their market is open.
//
// Invariants: while the link is up no tick of the terminal is left out and none is told twice: a cursor keeps the time of the last
// one and how many of that very millisecond were told. Amounts on the link are lots times the contract's size. Times on the link
// are UTC; those of the terminal are the trade server's.

#define MARKETS_MAX 512
#define MARKETS_PER_MESSAGE 50
// Ticks of one symbol in one turn; what is left waits in the terminal.
#define TICKS_PER_TURN_MAX 1000
#define MARKET_STATE_MS 1000

struct Market {
    string symbol;
    // As the link has it.
    string name;
    double tickSize;
    // Of one lot.
    double contract;
    double volumeMin;
    double volumeMax;
    double volumeStep;
    ENUM_SYMBOL_TRADE_EXECUTION execution;
    long filling;
    // Whether its ticks have trades.
    bool hasTrades;
    // The time of the last tick that was told, and how many of that time were.
    long cursorMsc;
    int cursorSeen;
    // Not of one that is here for the sake of an earlier advisor's order.
    bool isListed;
    // Told last: 1 open, 0 closed, -1 nothing yet.
    int told;
};

ARRAY(Market, markets);
ulong marketsCheckedMs = 0;
// What UTC in milliseconds is before GetTickCount64.
long utcOffsetMs = 0;
datetime utcSecond = 0;

// Reads InpSymbols; false with a line in the log where one can't be had.
bool MarketsInit() {
    ARRAY(string, names);
    int count = 0;
    if(StringLen(InpSymbols) > 0)
        count = StringSplit(InpSymbols, ',', names);
    else {
        ArrayResize(names, 1);
        names[0] = Symbol();
        count = 1;
    }
    if(count < 1 || count > MARKETS_MAX) {
        Print("tickring: between 1 and ", IntegerToString(MARKETS_MAX), " symbols are told");
        return false;
    }
    ArrayResize(markets, count);
    for(int i = 0; i < count; i++) {
        StringTrimLeft(names[i]);
        StringTrimRight(names[i]);
        if(!MarketInit(i, names[i]))
            return false;
    }
    return true;
}

bool MarketInit(const int i, const string symbol) {
    if(!SymbolSelect(symbol, true)) {
        Print("tickring: no symbol ", symbol, " here");
        return false;
    }
    markets[i].symbol = symbol;
    markets[i].name = LinkName(symbol);
    if(MarketByName(markets[i].name, i) >= 0) {
        Print("tickring: ", symbol, " is listed twice as ", markets[i].name);
        return false;
    }
    markets[i].tickSize = SymbolInfoDouble(symbol, SYMBOL_TRADE_TICK_SIZE);
    if(markets[i].tickSize <= 0)
        markets[i].tickSize = SymbolInfoDouble(symbol, SYMBOL_POINT);
    markets[i].contract = SymbolInfoDouble(symbol, SYMBOL_TRADE_CONTRACT_SIZE);
    markets[i].volumeMin = SymbolInfoDouble(symbol, SYMBOL_VOLUME_MIN);
    markets[i].volumeMax = SymbolInfoDouble(symbol, SYMBOL_VOLUME_MAX);
    markets[i].volumeStep = SymbolInfoDouble(symbol, SYMBOL_VOLUME_STEP);
    markets[i].execution = (ENUM_SYMBOL_TRADE_EXECUTION)SymbolInfoInteger(symbol, SYMBOL_TRADE_EXEMODE);
    markets[i].filling = SymbolInfoInteger(symbol, SYMBOL_FILLING_MODE);
    markets[i].hasTrades = false;
    markets[i].isListed = true;
    markets[i].told = -1;
    if(markets[i].tickSize <= 0 || markets[i].contract <= 0 || markets[i].volumeStep <= 0) {
        Print("tickring: the terminal does not tell what ", symbol, " is");
        return false;
    }
    MarketBegin(i);
    return true;
}

// A symbol's name as the link takes it: other characters than A-Z a-z 0-9 _ - : / become _, and it has 31 at most.
string LinkName(const string symbol) {
    string name = StringSubstr(symbol, 0, 31);
    for(int i = 0; i < StringLen(name); i++) {
        const int c = (int)StringGetCharacter(name, i);
        const bool isTaken = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
                             c == '-' || c == ':' || c == '/';
        if(!isTaken)
            StringSetCharacter(name, i, '_');
    }
    return name;
}

// Where a broker tells none it is XXX, as in ISO 4217.
string LinkCurrency(const string currency) {
    return StringLen(currency) > 0 ? LinkName(currency) : "XXX";
}

// The place of a name among the first `count`, or -1.
int MarketByName(const string name, const int count) {
    for(int i = 0; i < count; i++)
        if(markets[i].name == name)
            return i;
    return -1;
}

int MarketBySymbol(const string symbol) {
    for(int i = 0; i < ArraySize(markets); i++)
        if(markets[i].symbol == symbol)
            return i;
    return -1;
}

// The place of a symbol that need not be told; -1 where it can't be had.
int MarketAlso(const string symbol) {
    const int known = MarketBySymbol(symbol);
    if(known >= 0)
        return known;
    const int i = ArraySize(markets);
    ArrayResize(markets, i + 1);
    if(!MarketInit(i, symbol)) {
        ArrayResize(markets, i);
        return -1;
    }
    markets[i].isListed = false;
    return i;
}

// After a welcome: what there is, and how each market stands.
void MarketsTell() {
    const int count = ArraySize(markets);
    string list = "";
    int listed = 0;
    for(int i = 0; i < count; i++) {
        if(markets[i].isListed) {
            list += (listed > 0 ? "," : "") + MarketDefinition(i);
            listed++;
        }
        if(listed == MARKETS_PER_MESSAGE || (i == count - 1 && listed > 0)) {
            LinkSay("{\"type\":\"instruments\",\"instruments\":[" + list + "]}");
            list = "";
            listed = 0;
        }
    }
    for(int i = 0; i < count; i++) {
        markets[i].told = -1;
        MarketBegin(i);
    }
    marketsCheckedMs = 0;
}

string MarketDefinition(const int i) {
    const string symbol = markets[i].symbol;
    const long mode = SymbolInfoInteger(symbol, SYMBOL_TRADE_CALC_MODE);
    const bool isFuture = mode == SYMBOL_CALC_MODE_FUTURES || mode == SYMBOL_CALC_MODE_EXCH_FUTURES ||
                          mode == SYMBOL_CALC_MODE_EXCH_FUTURES_FORTS;
    string text = "{\"name\":" + JsonQuoted(markets[i].name) + JsonTextField("kind", isFuture ? "future" : "spot") +
                  JsonTextField("base", LinkCurrency(SymbolInfoString(symbol, SYMBOL_CURRENCY_BASE))) +
                  JsonTextField("quote", LinkCurrency(SymbolInfoString(symbol, SYMBOL_CURRENCY_PROFIT))) +
                  JsonNumberField("tick_size", markets[i].tickSize) +
                  JsonNumberField("min_amount", MarketSmallest(i)) +
                  JsonNumberField("contract_size", markets[i].contract);
    const long expires = SymbolInfoInteger(symbol, SYMBOL_EXPIRATION_TIME);
    if(isFuture && expires > 0)
        text += JsonWholeField("expires_ms", ServerToUtcMs(expires * 1000));
    return text + "}";
}

// The step of amounts, which is the smallest order wherever the step is the smallest volume.
double MarketSmallest(const int i) {
    return markets[i].volumeStep * markets[i].contract;
}

// Prices begin with the last tick there is; what was before it was before the link.
void MarketBegin(const int i) {
    MqlTick last;
    markets[i].cursorMsc = 0;
    markets[i].cursorSeen = 0;
    if(SymbolInfoTick(markets[i].symbol, last))
        markets[i].cursorMsc = last.time_msc;
}

// Whether each market is open, once a second, and all ticks that are new.
void MarketsTurn(const ulong nowMs) {
    if(linkState != LINK_UP)
        return;
    const bool isChecked = nowMs >= marketsCheckedMs;
    if(isChecked)
        marketsCheckedMs = nowMs + MARKET_STATE_MS;
    for(int i = 0; i < ArraySize(markets); i++) {
        if(LinkIsBusy())
            return;
        if(!markets[i].isListed)
            continue;
        if(isChecked)
            MarketState(i);
        MarketTicks(i);
    }
}

void MarketState(const int i) {
    const int isOpen = MarketIsOpen(i) ? 1 : 0;
    if(isOpen == markets[i].told)
        return;
    markets[i].told = isOpen;
    LinkSay("{\"type\":\"state\"" + JsonTextField("instrument", markets[i].name) +
            JsonTextField("state", isOpen == 1 ? "open" : "closed") + JsonWholeField("time_ms", UtcMs()) + "}");
}

// Open while the terminal has its server, the symbol may be traded, and a session of its day is on.
bool MarketIsOpen(const int i) {
    if(TerminalInfoInteger(TERMINAL_CONNECTED) == 0)
        return false;
    if(SymbolInfoInteger(markets[i].symbol, SYMBOL_TRADE_MODE) == SYMBOL_TRADE_MODE_DISABLED)
        return false;
    MqlDateTime day;
    const datetime now = TimeTradeServer();
    TimeToStruct(now, day);
    const long second = day.hour * 3600 + day.min * 60 + day.sec;
    for(uint session = 0; session < 16; session++) {
        datetime from = 0;
        datetime to = 0;
        if(!SymbolInfoSessionTrade(markets[i].symbol, (ENUM_DAY_OF_WEEK)day.day_of_week, session, from, to))
            return false;
        if(second >= (long)from && second < (long)to)
            return true;
    }
    return false;
}

// CopyTicks gives from the cursor's millisecond on, oldest first: those of that millisecond that were told are passed over.
void MarketTicks(const int i) {
    // Without a time CopyTicks would give the newest of the past.
    if(markets[i].cursorMsc == 0)
        MarketBegin(i);
    if(markets[i].cursorMsc == 0)
        return;
    ARRAY(MqlTick, ticks);
    const int count = CopyTicks(markets[i].symbol, ticks, COPY_TICKS_ALL, (ulong)markets[i].cursorMsc,
                                (uint)(markets[i].cursorSeen + TICKS_PER_TURN_MAX));
    int passed = 0;
    for(int k = 0; k < count; k++) {
        if(ticks[k].time_msc == markets[i].cursorMsc && passed < markets[i].cursorSeen) {
            passed++;
            continue;
        }
        // A millisecond's first tick begins the count anew.
        if(ticks[k].time_msc != markets[i].cursorMsc) {
            markets[i].cursorMsc = ticks[k].time_msc;
            markets[i].cursorSeen = 0;
        }
        markets[i].cursorSeen++;
        passed = markets[i].cursorSeen;
        TickTell(i, ticks[k]);
    }
}

void TickTell(const int i, const MqlTick &tick) {
    const string tail = JsonWholeField("time_ms", ServerToUtcMs(tick.time_msc)) + "}";
    const string head = JsonTextField("instrument", markets[i].name);
    const uint trade = TICK_FLAG_BUY | TICK_FLAG_SELL | TICK_FLAG_LAST;
    if((tick.flags & trade) != 0 && tick.last > 0 && tick.volume_real > 0) {
        markets[i].hasTrades = true;
        // Where the terminal does not know the side that took, the price tells.
        bool isBuy = (tick.flags & TICK_FLAG_BUY) != 0;
        if((tick.flags & (TICK_FLAG_BUY | TICK_FLAG_SELL)) == 0)
            isBuy = tick.ask > 0 && tick.last >= tick.ask;
        LinkSay("{\"type\":\"trade\"" + head + JsonNumberField("price", tick.last) +
                JsonNumberField("amount", tick.volume_real * markets[i].contract) +
                JsonTextField("side", isBuy ? "buy" : "sell") + tail);
    }
    if((tick.flags & (TICK_FLAG_BID | TICK_FLAG_ASK)) == 0)
        return;
    string sides = "";
    if(tick.bid > 0)
        sides += JsonNumberField("bid", tick.bid) + JsonNumberField("bid_amount", MarketSmallest(i));
    if(tick.ask > 0)
        sides += JsonNumberField("ask", tick.ask) + JsonNumberField("ask_amount", MarketSmallest(i));
    LinkSay("{\"type\":\"tick\"" + head + sides + tail);
}

// The trade server's time in its zone, as UTC. Zones are whole quarters of an hour, clocks are not quite the same.
long ServerToUtcMs(const long serverMs) {
    const long ahead = (long)TimeTradeServer() - (long)TimeGMT();
    const long quarters = (long)MathRound((double)ahead / 900.0);
    const long utc = serverMs - quarters * 900000;
    return utc > 0 ? utc : 0;
}

// UTC in milliseconds. The terminal tells whole seconds: each change of the second says what the running clock is behind it.
long UtcMs() {
    UtcTurn();
    return (long)GetTickCount64() + utcOffsetMs;
}

void UtcTurn() {
    const datetime second = TimeGMT();
    if(second == utcSecond)
        return;
    utcSecond = second;
    const long offset = (long)second * 1000 - (long)GetTickCount64();
    // It is seen late, never early: the highest is the best, until the clock is set.
    if(offset > utcOffsetMs || utcOffsetMs - offset > 1000)
        utcOffsetMs = offset;
}
