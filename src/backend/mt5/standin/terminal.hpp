// A terminal and its trade server, simulated: symbols whose prices walk by a seed, orders that meet them, positions, lists of what
// was. Requests are answered a turn later, and later or otherwise if it was told so (`control`).

#pragma once

#include <deque>
#include <map>

#include "mql5.hpp"

struct SimSymbol {
    string name;
    string base;
    string profit;
    int digits;
    double tickSize;
    double contract;
    double volumeMin;
    double volumeStep;
    ENUM_SYMBOL_TRADE_EXECUTION execution;
    long filling;
    long calcMode;
    long stops;
    double bid;
    double ask;
    bool isOpen = true;
    // Lots that are there for orders; what is taken is gone.
    double liquidity = 1e9;
    std::vector<MqlTick> ticks = {};
    bool isSelected = false;
    double point() const;
};

struct SimOrder {
    ulong ticket;
    string symbol;
    ENUM_ORDER_TYPE type;
    ENUM_ORDER_STATE state;
    double price;
    double volume;
    double left;
    ulong magic;
    ulong position;
    datetime setup;
    bool isBuy() const { return type == ORDER_TYPE_BUY || type == ORDER_TYPE_BUY_LIMIT; }
};

struct SimDeal {
    ulong ticket;
    ulong order;
    double price;
    double volume;
    long timeMsc;
    // It comes into the lists this turn.
    ulong dueTurn;
};

struct SimPosition {
    ulong ticket;
    string symbol;
    bool isBuy;
    double volume;
    ulong magic;
};

struct SimTransaction {
    MqlTradeTransaction trans;
    MqlTradeRequest request;
    MqlTradeResult result;
};

class Terminal {
public:
    // The trade server is ahead of UTC.
    static constexpr long zoneSeconds = 3 * 3600;

    Terminal();
    // Prices walk, requests that are due are executed, orders meet prices.
    void turn();
    // What a line on stdin says: see README.md.
    void control(const std::string &line);
    bool poll(SimTransaction &next);
    static void closeSockets();

    SimSymbol *find(const string &name);
    uint send(const MqlTradeRequest &request, uint &id);
    void select(datetime from, datetime to);

    int timerMs = 0;
    bool isConnected = true;
    bool isHedging = false;
    bool isWalking = false;
    // Requests stay on their way.
    bool isHeld = false;
    ulong random = 1;
    string chart = "EURUSD";
    // Set by a tick of the chart's symbol.
    bool hasTicked = false;
    std::vector<SimSymbol> symbols;
    std::map<ulong, SimOrder> open;
    std::map<ulong, SimOrder> history;
    std::vector<SimDeal> deals;
    std::vector<SimPosition> positions;
    // What OrderSelect, HistorySelect and the like have chosen.
    SimOrder selected = {};
    SimPosition selectedPosition = {};
    std::vector<ulong> selectedOrders;
    std::vector<ulong> selectedDeals;

private:
    struct Flight {
        ulong dueTurn;
        uint id;
        MqlTradeRequest request;
        // Otherwise than it would be: a return code instead of it, another answer to it, no answer, no arrival.
        uint retcode;
        uint answer;
        bool isLost;
        bool isDropped;
    };

    void tick(SimSymbol &symbol, double bid, double ask, uint flags, double last, double volume);
    void walk(SimSymbol &symbol);
    uint execute(const MqlTradeRequest &request, ulong &ticket);
    uint deal(const MqlTradeRequest &request, SimSymbol &symbol, ulong &ticket);
    uint place(const MqlTradeRequest &request, SimSymbol &symbol, ulong &ticket);
    uint modify(const MqlTradeRequest &request);
    uint remove(const MqlTradeRequest &request);
    void byHand(bool isDelete, double price);
    void match(SimSymbol &symbol);
    void fill(SimOrder &order, SimSymbol &symbol, double price);
    void hold(const SimOrder &order, double volume);
    void finish(SimOrder order, ENUM_ORDER_STATE state);
    void tell(ENUM_TRADE_TRANSACTION_TYPE type, ulong order, ulong deal = 0);
    SimOrder made(const MqlTradeRequest &request);

    ulong turns = 0;
    ulong ticketNext = 1000;
    uint requestNext = 1;
    uint nextRetcode = 0;
    uint nextAnswer = 0;
    uint nextSendRetcode = 0;
    bool isNextLost = false;
    bool isNextDropped = false;
    std::deque<Flight> flights;
    std::deque<SimDeal> dealsDue;
    std::deque<SimTransaction> queue;
};

extern Terminal terminal;
