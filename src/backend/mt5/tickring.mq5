// An Expert Advisor that is a venue of tickring: it streams the ticks of chosen symbols and executes orders.
// docs/mt5.md is the guide, docs/venue-link.md the wire, README.md says in what subset of MQL5 this is written.
//
// A turn is made by the timer, each tick of the chart's symbol and each trade transaction: read and execute what the gateway
// asks for, look at orders, tell ticks, send. Nothing in a turn waits but a connection that is being made.

#ifdef __MQL5__
#property copyright "MIT OR Apache-2.0"
#property version   "1.00"
#property description "Streams ticks to a tickring gateway and executes its orders."
#endif

#include "subset.mqh"

input string InpHost = "127.0.0.1";   // Gateway's address: has to be in the list of allowed URLs
input int    InpPort = 9004;          // Gateway's port
input string InpVenue = "mt5";        // Name in the gateway's configuration: [venue.mt5]
input string InpKey = "";             // Key that stands there
input string InpSymbols = "";         // Symbols, with commas between them; empty: the chart's
input int    InpMagic = 7;            // 1 to 1023, another one for each advisor of an account
input int    InpDeviation = 10;       // Points that a market order may be filled off its price
input int    InpHeartbeatMs = 1000;   // How often the gateway hears of us at least, in milliseconds
input int    InpTimerMs = 10;         // Time between turns, in milliseconds
input int    InpRetryMs = 1000;       // Wait before connecting again, doubled to 16 times
input int    InpSettleMs = 10000;     // After which what is in no list of the terminal never comes
input int    InpHistoryDays = 7;      // How far back orders of an earlier advisor are looked for
input bool   InpKeepOrphans = false;  // Keep resting orders that the gateway has forgotten
input bool   InpLoseLimits = false;   // Market execution: send limits that take, though their price may not be kept

#include "json.mqh"
#include "retcodes.mqh"
#include "link.mqh"
#include "market.mqh"
#include "orders.mqh"
#include "commands.mqh"
#include "trade.mqh"

int OnInit() {
    const bool isValid = InpMagic >= 1 && InpMagic <= 1023 && InpPort >= 1 && InpPort <= 65535 && InpHeartbeatMs >= 10 &&
                         InpHeartbeatMs <= 60000 && InpTimerMs >= 1 && InpTimerMs <= 1000 && InpRetryMs >= 1 &&
                         InpSettleMs >= 0 && InpDeviation >= 0 && InpHistoryDays >= 1 && StringLen(InpVenue) > 0;
    if(!isValid) {
        Print("tickring: an input is out of its range");
        return INIT_PARAMETERS_INCORRECT;
    }
    if(!MarketsInit())
        return INIT_FAILED;
    OrdersInit();
    LinkInit();
    TerminalTurn(GetTickCount64());
    if(!EventSetMillisecondTimer(InpTimerMs)) {
        Print("tickring: no timer (error ", IntegerToString(GetLastError()), ")");
        return INIT_FAILED;
    }
    Print("tickring: ", IntegerToString(ArraySize(markets)), " symbols for ", InpVenue, " at ", InpHost, ":",
          IntegerToString(InpPort), ", ",
          AccountInfoInteger(ACCOUNT_MARGIN_MODE) == ACCOUNT_MARGIN_MODE_RETAIL_HEDGING ? "hedging" : "netting", " account");
    return INIT_SUCCEEDED;
}

void OnDeinit(const int reason) {
    EventKillTimer();
    LinkCut("stopped, reason " + IntegerToString(reason));
}

void OnTimer() {
    Turn();
}

void OnTick() {
    Turn();
}

void OnTradeTransaction(const MqlTradeTransaction &trans, const MqlTradeRequest &request, const MqlTradeResult &result) {
    OrdersTransaction(trans, request, result);
    OrdersTurn(GetTickCount64());
    CommandsTurn();
    LinkFlush();
}

void Turn() {
    const ulong nowMs = GetTickCount64();
    UtcTurn();
    TerminalTurn(nowMs);
    LinkTurn(nowMs);
    OrdersTurn(nowMs);
    CommandsTurn();
    QuestionsTurn();
    OrphansTurn(nowMs);
    MarketsTurn(nowMs);
    LinkFlush();
}
