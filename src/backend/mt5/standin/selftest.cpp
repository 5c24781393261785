// Tests of the advisor's parts that need no gateway: JSON, numbers, names, the table of return codes, the tick cursor, reports.

#include <memory>

#include "advisor.hpp"
#include "terminal.hpp"

namespace {

int failures = 0;

void check(const bool is, const std::string &what) {
    if(is)
        return;
    failures++;
    std::cout << "FAILS: " << what << std::endl;
}

void equal(const string &found, const string &expected, const std::string &what) {
    check(found == expected, what + ": " + found.bytes + " instead of " + expected.bytes);
}

Array<uchar> bytesOf(const std::string &text) {
    Array<uchar> bytes;
    bytes.items.assign(text.begin(), text.end());
    return bytes;
}

bool reads(Advisor &advisor, const std::string &text, Advisor::JsonObject &object) {
    const Array<uchar> bytes = bytesOf(text);
    return advisor.JsonRead(bytes, 0, ArraySize(bytes), object);
}

void testJson(Advisor &advisor) {
    Advisor::JsonObject object;
    check(reads(advisor, R"( {"a":"x\"\\\/\n\u00e4\ud83d\ude00","b":-1.5e3,"c":true,"d":null,"e":[1,{"f":[]}],"n":12} )", object),
          "an object of all kinds");
    string text = "";
    double decimal = 0;
    long whole = 0;
    check(advisor.JsonText(object, "a", text), "a text");
    equal(text, "x\"\\/\n\u00e4\U0001F600", "its escapes");
    check(advisor.JsonDecimal(object, "b", decimal) && decimal == -1500, "a decimal");
    check(advisor.JsonFlag(object, "c") && !advisor.JsonFlag(object, "b"), "a flag");
    check(advisor.JsonFind(object, "d") == -1, "a null is absent");
    check(!advisor.JsonText(object, "e", text), "an array is no text");
    check(advisor.JsonWhole(object, "n", whole) && whole == 12, "a whole number");
    check(!advisor.JsonWhole(object, "b", whole), "a decimal is not whole");
    check(reads(advisor, "{}", object) && object.count == 0, "nothing in it");
    check(reads(advisor, R"({"s":9007199254740991})", object) && advisor.JsonWhole(object, "s", whole), "2^53-1");
    check(reads(advisor, R"({"s":9007199254740992})", object) && !advisor.JsonWhole(object, "s", whole), "2^53");
}

void testFaults(Advisor &advisor) {
    Advisor::JsonObject object;
    const std::vector<std::string> wrong = {
        "",        "{",          "[]",         "{\"a\":1",      "{\"a\":1,}",       "{\"a\" 1}",    "{a:1}",
        "{'a':1}", "{\"a\":01}", "{\"a\":1.}", "{\"a\":.5}",    "{\"a\":1e}",       "{\"a\":-}",    "{\"a\":+1}",
        "{\"a\":tru}", "{\"a\":NaN}", "{\"a\":\"\n\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\ud800\"}",
        "{\"a\":1}{}", "{\"a\":[1,]}", "{\"a\":\"", "{\"a\":{\"b\":}}"};
    for(const std::string &text : wrong)
        check(!reads(advisor, text, object) && object.fault == "not JSON", "not JSON: " + text);
    check(!reads(advisor, R"({"a":1,"a":2})", object), "a field twice");
    equal(object.fault, "a field twice", "its fault");
    std::string many = "{\"f0\":0";
    for(int i = 1; i <= 32; i++)
        many += ",\"f" + std::to_string(i) + "\":0";
    check(!reads(advisor, many + "}", object), "33 fields");
    equal(object.fault, "too many fields", "its fault");
    const auto nested = [](const size_t depth) { return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}"; };
    check(reads(advisor, nested(7), object), "depth 8");
    check(!reads(advisor, nested(8), object), "depth 9");
    check(!reads(advisor, nested(100000), object), "depth 100,000");
    // Each beginning of what is right ends in a fault, not beyond the array.
    const std::string whole = R"({"a":"\u00e4","b":[{"c":-1.5e-3}],"d":true})";
    for(size_t i = 0; i < whole.size(); i++)
        check(!reads(advisor, whole.substr(0, i), object), "the first " + std::to_string(i) + " bytes");
    check(reads(advisor, whole, object), "all of them");
    // Whatever comes, it ends, and stays within the array.
    const std::string odd = "{}[]\":,\\u0e-.t \x01\xff";
    ulong random = 1;
    int taken = 0;
    for(int i = 0; i < 20000; i++) {
        std::string text = whole;
        for(int k = 0; k < 3; k++) {
            random = random * 6364136223846793005ul + 1442695040888963407ul;
            text[(random >> 33) % text.size()] = odd[(random >> 20) % odd.size()];
        }
        taken += reads(advisor, text, object) ? 1 : 0;
    }
    check(taken > 0 && taken < 20000, "some of what is changed is still JSON: " + std::to_string(taken));
}

void testWriting(Advisor &advisor) {
    equal(advisor.JsonNumber(1.12119), "1.12119", "a price");
    equal(advisor.JsonNumber(0.1 + 0.2), "0.3", "a sum");
    equal(advisor.JsonNumber(100000), "100000", "a whole amount");
    equal(advisor.JsonNumber(0.00001), "0.00001", "a tick");
    equal(advisor.JsonNumber(-250.5), "-250.5", "a negative price");
    equal(advisor.JsonNumber(0), "0", "nothing");
    equal(advisor.JsonQuoted("a\"b\\c"), "\"a\\\"b\\\\c\"", "a quoted text");
    equal(advisor.LinkName("#EURUSD.m+"), "_EURUSD_m_", "a broker's name");
    equal(advisor.LinkName("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"), "ABCDEFGHIJKLMNOPQRSTUVWXYZ01234", "a long name");
}

void testRetcodes(Advisor &advisor) {
    const std::vector<std::pair<uint, const char *>> table = {
        {10004, "fill_or_kill"},   {10006, "refused"},        {10007, "refused"},        {10008, ""},
        {10009, ""},               {10010, ""},               {10011, "refused"},        {10012, "timed_out"},
        {10013, "refused"},        {10014, "invalid_amount"}, {10015, "price_too_high"}, {10016, "refused"},
        {10017, "book_closed"},    {10018, "book_closed"},    {10019, "notional_too_large"}, {10020, "fill_or_kill"},
        {10021, "unavailable"},    {10022, "refused"},        {10023, "refused"},        {10024, "full"},
        {10025, ""},               {10026, "unavailable"},    {10027, "unavailable"},    {10028, "refused"},
        {10029, "refused"},        {10030, "refused"},        {10031, "unavailable"},    {10032, "refused"},
        {10033, "too_many_open_orders"}, {10034, "amount_too_large"}, {10035, "refused"}, {10036, "reduce_only"},
        {10038, "reduce_only"},    {10039, "reduce_only"},    {10040, "too_many_open_orders"}, {10041, "refused"},
        {10042, "refused"},        {10043, "refused"},        {10044, "reduce_only"},    {10045, "reduce_only"},
        {10046, "refused"},        {10099, "refused"}};
    for(const auto &[retcode, word] : table) {
        equal(advisor.RetcodeRefusal(retcode, true), word, std::to_string(retcode));
        const bool isDoubt = retcode == 10012 || retcode == 10031;
        check(advisor.RetcodeIsDoubt(retcode) == isDoubt, std::to_string(retcode) + " is in doubt");
    }
    equal(advisor.RetcodeRefusal(10015, false), "price_too_low", "10015 of a sell");
}

// What an advisor whose link is up has said since it was asked last, as lines.
std::vector<std::string> said(Advisor &advisor) {
    std::string bytes(advisor.linkOutbox.items.begin(), advisor.linkOutbox.items.begin() + advisor.linkOutboxSize);
    advisor.linkOutboxSize = 0;
    std::vector<std::string> lines;
    std::istringstream rest(bytes);
    for(std::string line; std::getline(rest, line);)
        lines.push_back(line);
    return lines;
}

std::unique_ptr<Advisor> linked(const char *symbols) {
    auto advisor = std::make_unique<Advisor>();
    advisor->InpSymbols = symbols;
    advisor->OnInit();
    advisor->linkState = Advisor::LINK_UP;
    return advisor;
}

// Ticks of one millisecond, of the next, and late ones of the same: each is told once.
void testCursor() {
    const auto advisor = linked("EURUSD");
    SimSymbol &symbol = *terminal.find("EURUSD");
    const auto add = [&](const long msc, const double bid) {
        MqlTick tick = symbol.ticks.back();
        tick.time_msc = msc;
        tick.bid = bid;
        symbol.ticks.push_back(tick);
    };
    advisor->MarketTicks(0);
    check(said(*advisor).size() == 1, "the last tick is told at first");
    advisor->MarketTicks(0);
    check(said(*advisor).empty(), "and not again");
    const long start = symbol.ticks.back().time_msc + 10;
    std::vector<std::string> all;
    const auto take = [&] {
        advisor->MarketTicks(0);
        const auto lines = said(*advisor);
        all.insert(all.end(), lines.begin(), lines.end());
        return lines.size();
    };
    add(start, 1);
    add(start, 2);
    check(take() == 2, "two of one millisecond");
    add(start, 3);
    add(start + 1, 4);
    add(start + 1, 5);
    check(take() == 3, "one more of it, two of the next");
    for(int i = 6; i <= 2600; i++)
        add(start + 1, i);
    check(take() == 1000 && take() == 1000 && take() == 595 && take() == 0, "2,595 more of that one, in three turns");
    for(size_t i = 0; i < all.size(); i++)
        check(all[i].find("\"bid\":" + std::to_string(i + 1) + ",") != std::string::npos, "in order: " + all[i]);
}

// Reports are numbered from 1, kept until they are acknowledged, and all forgotten when too many are kept.
void testReports() {
    const auto advisor = linked("EURUSD");
    said(*advisor);
    for(int i = 0; i < 3; i++)
        advisor->ReportSay("accepted", 5, "");
    const auto lines = said(*advisor);
    check(lines.size() == 3 && lines[2] == R"({"type":"accepted","seq":3,"order":5})", "the third report");
    check(!advisor->ReportsAcknowledge(5), "an acknowledgement of what was not said");
    check(advisor->ReportsAcknowledge(3) && !advisor->ReportsAcknowledge(2), "what is acknowledged is forgotten");
    check(advisor->ReportsAcknowledge(4) && advisor->reportFirst == advisor->reportNext, "all of them");
    for(int i = 0; i < 4096; i++)
        advisor->ReportSay("accepted", 5, "");
    check(advisor->reportNext == 4100 && advisor->linkLapses == 0, "4,096 are kept");
    advisor->ReportSay("accepted", 5, "");
    check(advisor->linkLapses == 1 && advisor->reportNext == 1 && advisor->linkState == Advisor::LINK_CLOSED, "one more is too many");
}

// A market is open in its sessions, while the terminal has its server, and is told so once.
void testSessions() {
    const auto advisor = linked("EURUSD");
    for(const char *event : {"close EURUSD", "offline"}) {
        check(advisor->MarketIsOpen(0), "open");
        terminal.control(event);
        check(!advisor->MarketIsOpen(0), event);
        terminal.control("open EURUSD");
        terminal.control("online");
    }
    said(*advisor);
    for(int i = 0; i < 2; i++)
        advisor->MarketState(0);
    const auto lines = said(*advisor);
    check(lines.size() == 1 && lines[0].find("\"state\":\"open\"") != std::string::npos, "told once");
}

// What the gateway says, as lines.
void hears(Advisor &advisor, const std::string &text) {
    advisor.linkInbox = bytesOf(text);
    advisor.linkInboxSize = ArraySize(advisor.linkInbox);
    advisor.LinkLines();
}

// Each number is taken once; one that is missing, and what is no message, ends the connection.
void testNumbers() {
    const auto status = [](const int seq) {
        return "{\"type\":\"status\",\"seq\":" + std::to_string(seq) + ",\"order\":9}\n";
    };
    const auto advisor = linked("EURUSD");
    hears(*advisor, status(1) + " \r\n" + status(1) + status(2) + "{\"type\":\"heart");
    check(advisor->questionsCount == 2 && advisor->commandNext == 3, "1, 1 again, 2");
    check(advisor->linkInboxSize == 14, "what is not whole is kept");
    hears(*advisor, status(4));
    check(advisor->linkState == Advisor::LINK_CLOSED && advisor->questionsCount == 2, "4 where 3 is expected");
    for(const char *line : {"x\n", "{}\n", "{\"type\":\"welcome\"}\n", "{\"type\":\"heartbeat\",\"next\":2}\n",
                            "{\"type\":\"new\",\"seq\":1,\"order\":7}\n", "{\"type\":\"cancel\",\"seq\":1}\n",
                            "{\"type\":\"bye\",\"reason\":\"\"}\n"}) {
        const auto other = linked("EURUSD");
        hears(*other, line);
        check(other->linkState == Advisor::LINK_CLOSED && other->commandNext == 1, std::string("it ends at ") + line);
    }
    const auto long_winded = linked("EURUSD");
    hears(*long_winded, std::string(65535, ' '));
    check(long_winded->linkState == Advisor::LINK_UP, "65,535 bytes of a line");
    hears(*long_winded, std::string(65536, ' '));
    check(long_winded->linkState == Advisor::LINK_CLOSED, "65,536 bytes of a line");
}

// A terminal calls OnInit again, with all variables as they were, when the chart or the inputs change.
void testInitAgain() {
    const auto advisor = linked("EURUSD,Si-9.27");
    advisor->ReportSay("accepted", 5, "");
    advisor->OrderBegin(advisor->OrderSlot(), 5);
    const string session = advisor->linkSession;
    advisor->OnDeinit(3);
    advisor->InpSymbols = "Si-9.27";
    check(advisor->OnInit() == INIT_SUCCEEDED, "it begins again");
    check(advisor->ordersCount == 0 && advisor->reportNext == 1 && advisor->linkState == Advisor::LINK_CLOSED, "without a memory");
    check(advisor->linkSession != session && ArraySize(advisor->markets) == 1, "as another");
}

// The trade server is three hours ahead of UTC.
void testTime(Advisor &advisor) {
    const long utc = advisor.ServerToUtcMs(TimeTradeServer() * 1000 + 123);
    check(std::abs(utc - TimeGMT() * 1000 - 123) <= 1000, "the server's time as UTC");
    check(std::abs(advisor.UtcMs() - TimeGMT() * 1000) <= 2000, "the time as UTC");
}

} // namespace

int main() {
    const auto advisor = std::make_unique<Advisor>();
    testJson(*advisor);
    testFaults(*advisor);
    testWriting(*advisor);
    testRetcodes(*advisor);
    testTime(*advisor);
    testCursor();
    testReports();
    testSessions();
    testNumbers();
    testInitAgain();
    std::cout << (failures == 0 ? "all passed" : std::to_string(failures) + " failed") << std::endl;
    return failures == 0 ? 0 : 1;
}
