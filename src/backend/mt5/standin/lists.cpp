// MQL5's functions for symbols, ticks, orders, deals and positions, over the simulated terminal. What was not selected can't be
// read, as in a terminal.

#include <algorithm>

#include "terminal.hpp"

namespace {

// A symbol that was not asked for ends the test: a terminal would say nothing of it.
SimSymbol &known(const string &name) {
    SimSymbol *symbol = terminal.find(name);
    if(symbol == nullptr || !symbol->isSelected) {
        std::cerr << "symbol not selected: " << name << std::endl;
        std::abort();
    }
    return *symbol;
}

long orderInteger(const SimOrder &order, const ENUM_ORDER_PROPERTY_INTEGER property) {
    switch(property) {
        case ORDER_TYPE:
            return order.type;
        case ORDER_STATE:
            return order.state;
        case ORDER_MAGIC:
            return static_cast<long>(order.magic);
        case ORDER_TIME_SETUP:
            return order.setup;
    }
    std::abort();
}

double orderDouble(const SimOrder &order, const ENUM_ORDER_PROPERTY_DOUBLE property) {
    switch(property) {
        case ORDER_VOLUME_INITIAL:
            return order.volume;
        case ORDER_VOLUME_CURRENT:
            return order.left;
        case ORDER_PRICE_OPEN:
            return order.price;
    }
    std::abort();
}

const SimOrder &past(const ulong ticket) {
    static const SimOrder none = {};
    const auto &chosen = terminal.selectedOrders;
    return std::find(chosen.begin(), chosen.end(), ticket) == chosen.end() ? none : terminal.history.at(ticket);
}

const SimDeal &pastDeal(const ulong ticket) {
    static const SimDeal none = {};
    const auto &chosen = terminal.selectedDeals;
    if(std::find(chosen.begin(), chosen.end(), ticket) == chosen.end())
        return none;
    const auto is = [&](const SimDeal &deal) { return deal.ticket == ticket; };
    return *std::find_if(terminal.deals.begin(), terminal.deals.end(), is);
}

} // namespace

string Symbol() { return terminal.chart; }

bool SymbolSelect(const string &name, const bool select) {
    SimSymbol *symbol = terminal.find(name);
    if(symbol != nullptr)
        symbol->isSelected = select;
    return symbol != nullptr;
}

long SymbolInfoInteger(const string &name, const ENUM_SYMBOL_INFO_INTEGER property) {
    const SimSymbol &symbol = known(name);
    switch(property) {
        case SYMBOL_TRADE_EXEMODE:
            return symbol.execution;
        case SYMBOL_FILLING_MODE:
            return symbol.filling;
        case SYMBOL_TRADE_CALC_MODE:
            return symbol.calcMode;
        case SYMBOL_TRADE_MODE:
            return SYMBOL_TRADE_MODE_FULL;
        case SYMBOL_EXPIRATION_MODE:
            return SYMBOL_EXPIRATION_GTC;
        case SYMBOL_EXPIRATION_TIME:
            return symbol.calcMode == SYMBOL_CALC_MODE_FOREX ? 0 : TimeTradeServer() + 90 * 86400;
        case SYMBOL_TRADE_STOPS_LEVEL:
            return symbol.stops;
    }
    std::abort();
}

double SymbolInfoDouble(const string &name, const ENUM_SYMBOL_INFO_DOUBLE property) {
    const SimSymbol &symbol = known(name);
    switch(property) {
        case SYMBOL_POINT:
            return symbol.point();
        case SYMBOL_TRADE_TICK_SIZE:
            return symbol.tickSize;
        case SYMBOL_TRADE_CONTRACT_SIZE:
            return symbol.contract;
        case SYMBOL_VOLUME_MIN:
            return symbol.volumeMin;
        case SYMBOL_VOLUME_MAX:
            return 100;
        case SYMBOL_VOLUME_STEP:
            return symbol.volumeStep;
    }
    std::abort();
}

string SymbolInfoString(const string &name, const ENUM_SYMBOL_INFO_STRING property) {
    return property == SYMBOL_CURRENCY_BASE ? known(name).base : known(name).profit;
}

bool SymbolInfoTick(const string &name, MqlTick &tick) {
    const SimSymbol &symbol = known(name);
    tick = symbol.ticks.back();
    tick.bid = symbol.bid;
    tick.ask = symbol.ask;
    return true;
}

// All day, in two sessions, while it is open.
bool SymbolInfoSessionTrade(const string &name, ENUM_DAY_OF_WEEK, const uint session, datetime &from, datetime &to) {
    if(!known(name).isOpen || session > 1)
        return false;
    from = session == 0 ? 0 : 43200;
    to = session == 0 ? 43200 : 86400;
    return true;
}

int CopyTicks(const string &name, Array<MqlTick> &ticks, const uint flags, const ulong from, const uint count) {
    if(flags != COPY_TICKS_ALL)
        std::abort();
    const std::vector<MqlTick> &all = known(name).ticks;
    auto first = std::find_if(all.begin(), all.end(), [&](const MqlTick &tick) { return tick.time_msc >= static_cast<long>(from); });
    if(from == 0)
        first = all.size() > count ? all.end() - count : all.begin();
    const auto last = static_cast<size_t>(all.end() - first) > count ? first + count : all.end();
    ticks.items.assign(first, last);
    return ArraySize(ticks);
}

long TerminalInfoInteger(ENUM_TERMINAL_INFO_INTEGER) { return terminal.isConnected ? 1 : 0; }

long AccountInfoInteger(ENUM_ACCOUNT_INFO_INTEGER) {
    return terminal.isHedging ? ACCOUNT_MARGIN_MODE_RETAIL_HEDGING : ACCOUNT_MARGIN_MODE_RETAIL_NETTING;
}

bool OrderSendAsync(const MqlTradeRequest &request, MqlTradeResult &result) {
    result.retcode = terminal.send(request, result.request_id);
    if(result.retcode != 0)
        return false;
    result.retcode = TRADE_RETCODE_PLACED;
    return true;
}

int OrdersTotal() { return static_cast<int>(terminal.open.size()); }

ulong OrderGetTicket(const int at) {
    auto one = terminal.open.begin();
    std::advance(one, at);
    terminal.selected = one->second;
    return one->first;
}

bool OrderSelect(const ulong ticket) {
    const auto found = terminal.open.find(ticket);
    if(found != terminal.open.end())
        terminal.selected = found->second;
    return found != terminal.open.end();
}

long OrderGetInteger(const ENUM_ORDER_PROPERTY_INTEGER property) { return orderInteger(terminal.selected, property); }
double OrderGetDouble(const ENUM_ORDER_PROPERTY_DOUBLE property) { return orderDouble(terminal.selected, property); }
string OrderGetString(ENUM_ORDER_PROPERTY_STRING) { return terminal.selected.symbol; }

bool HistorySelect(const datetime from, const datetime to) {
    terminal.select(from, to);
    return true;
}

// It leaves nothing else selected.
bool HistoryOrderSelect(const ulong ticket) {
    terminal.selectedOrders.clear();
    terminal.selectedDeals.clear();
    if(terminal.history.count(ticket) == 0)
        return false;
    terminal.selectedOrders.push_back(ticket);
    return true;
}

int HistoryOrdersTotal() { return static_cast<int>(terminal.selectedOrders.size()); }
ulong HistoryOrderGetTicket(const int at) { return terminal.selectedOrders.at(static_cast<size_t>(at)); }

long HistoryOrderGetInteger(const ulong ticket, const ENUM_ORDER_PROPERTY_INTEGER property) {
    return orderInteger(past(ticket), property);
}

double HistoryOrderGetDouble(const ulong ticket, const ENUM_ORDER_PROPERTY_DOUBLE property) {
    return orderDouble(past(ticket), property);
}

string HistoryOrderGetString(const ulong ticket, ENUM_ORDER_PROPERTY_STRING) { return past(ticket).symbol; }

int HistoryDealsTotal() { return static_cast<int>(terminal.selectedDeals.size()); }
ulong HistoryDealGetTicket(const int at) { return terminal.selectedDeals.at(static_cast<size_t>(at)); }

long HistoryDealGetInteger(const ulong ticket, const ENUM_DEAL_PROPERTY_INTEGER property) {
    const SimDeal &deal = pastDeal(ticket);
    return property == DEAL_ORDER ? static_cast<long>(deal.order) : deal.timeMsc;
}

double HistoryDealGetDouble(const ulong ticket, const ENUM_DEAL_PROPERTY_DOUBLE property) {
    const SimDeal &deal = pastDeal(ticket);
    return property == DEAL_PRICE ? deal.price : deal.volume;
}

int PositionsTotal() { return static_cast<int>(terminal.positions.size()); }

ulong PositionGetTicket(const int at) {
    terminal.selectedPosition = terminal.positions.at(static_cast<size_t>(at));
    return terminal.selectedPosition.ticket;
}

long PositionGetInteger(const ENUM_POSITION_PROPERTY_INTEGER property) {
    const SimPosition &held = terminal.selectedPosition;
    if(property == POSITION_MAGIC)
        return static_cast<long>(held.magic);
    return held.isBuy ? POSITION_TYPE_BUY : POSITION_TYPE_SELL;
}

double PositionGetDouble(ENUM_POSITION_PROPERTY_DOUBLE) { return terminal.selectedPosition.volume; }
string PositionGetString(ENUM_POSITION_PROPERTY_STRING) { return terminal.selectedPosition.symbol; }
