// The simulated terminal and trade server: see terminal.hpp.

#include "terminal.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

Terminal terminal;

namespace {

constexpr double hair = 1e-9;

long serverMsc() {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(since).count() + Terminal::zoneSeconds * 1000;
}

bool wouldTake(const bool isBuy, const double price, const SimSymbol &symbol) {
    return isBuy ? price >= symbol.ask - hair : price <= symbol.bid + hair;
}

} // namespace

double SimSymbol::point() const { return std::pow(10.0, -digits); }

Terminal::Terminal() {
    const long both = SYMBOL_FILLING_FOK | SYMBOL_FILLING_IOC;
    symbols = {
        {"EURUSD", "EUR", "USD", 5, 0.00001, 100000, 0.01, 0.01, SYMBOL_TRADE_EXECUTION_INSTANT, both, SYMBOL_CALC_MODE_FOREX,
         0, 1.12119, 1.12121},
        {"GBPUSD.m", "GBP", "USD", 5, 0.00001, 100000, 0.01, 0.01, SYMBOL_TRADE_EXECUTION_MARKET, both, SYMBOL_CALC_MODE_FOREX,
         0, 1.30001, 1.30004},
        {"Si-9.27", "USD", "RUB", 0, 1, 1000, 1, 1, SYMBOL_TRADE_EXECUTION_EXCHANGE, both | SYMBOL_FILLING_BOC,
         SYMBOL_CALC_MODE_EXCH_FUTURES_FORTS, 0, 90010, 90014},
    };
    for(SimSymbol &symbol : symbols)
        tick(symbol, symbol.bid, symbol.ask, TICK_FLAG_BID | TICK_FLAG_ASK, 0, 0);
}

void Terminal::turn() {
    turns++;
    if(isWalking && isConnected)
        for(SimSymbol &symbol : symbols)
            walk(symbol);
    while(!isHeld && !flights.empty() && flights.front().dueTurn <= turns) {
        const Flight flight = flights.front();
        flights.pop_front();
        if(flight.isDropped)
            continue;
        ulong ticket = 0;
        uint retcode = flight.retcode;
        if(retcode == 0)
            retcode = execute(flight.request, ticket);
        if(flight.answer != 0)
            retcode = flight.answer;
        if(flight.isLost)
            continue;
        SimTransaction answer = {};
        answer.trans.type = TRADE_TRANSACTION_REQUEST;
        answer.request = flight.request;
        answer.result.retcode = retcode;
        answer.result.order = ticket;
        answer.result.request_id = flight.id;
        queue.push_back(answer);
    }
    while(!dealsDue.empty() && dealsDue.front().dueTurn <= turns) {
        deals.push_back(dealsDue.front());
        tell(TRADE_TRANSACTION_DEAL_ADD, dealsDue.front().order, dealsDue.front().ticket);
        dealsDue.pop_front();
    }
}

bool Terminal::poll(SimTransaction &next) {
    if(queue.empty())
        return false;
    next = queue.front();
    queue.pop_front();
    return true;
}

SimSymbol *Terminal::find(const string &name) {
    const auto found = std::find_if(symbols.begin(), symbols.end(), [&](const SimSymbol &one) { return one.name == name; });
    return found == symbols.end() ? nullptr : &*found;
}

// What a terminal refuses by itself, or 0 and the number of a request that is sent.
uint Terminal::send(const MqlTradeRequest &request, uint &id) {
    if(nextSendRetcode != 0)
        return std::exchange(nextSendRetcode, 0);
    id = requestNext++;
    std::cout << "terminal: request " << id << std::endl;
    flights.push_back({turns + 1, id, request, std::exchange(nextRetcode, 0), std::exchange(nextAnswer, 0), std::exchange(isNextLost, false),
                       std::exchange(isNextDropped, false)});
    return 0;
}

void Terminal::select(const datetime from, const datetime to) {
    selectedOrders.clear();
    selectedDeals.clear();
    for(const auto &[ticket, order] : history)
        if(order.setup >= from && order.setup <= to)
            selectedOrders.push_back(ticket);
    for(const SimDeal &one : deals)
        if(one.timeMsc / 1000 >= from && one.timeMsc / 1000 <= to)
            selectedDeals.push_back(one.ticket);
}

void Terminal::control(const std::string &line) {
    std::istringstream words(line);
    std::string verb, name;
    double first = 0, second = 0;
    words >> verb;
    const bool isOfSymbol = verb == "price" || verb == "open" || verb == "close" || verb == "burst" || verb == "liquidity" ||
                            verb == "trade" || verb == "stops";
    if(isOfSymbol)
        words >> name;
    words >> first >> second;
    SimSymbol *symbol = find(name);
    if(isOfSymbol && symbol == nullptr)
        std::cout << "terminal: no symbol " << name << std::endl;
    else if(verb == "price")
        tick(*symbol, first, second, TICK_FLAG_BID | TICK_FLAG_ASK, 0, 0);
    else if(verb == "trade")
        tick(*symbol, symbol->bid, symbol->ask, TICK_FLAG_LAST | TICK_FLAG_VOLUME | TICK_FLAG_BUY, first, second);
    else if(verb == "burst") {
        const double bid = symbol->bid, ask = symbol->ask;
        for(int i = 1; i <= static_cast<int>(first); i++) {
            tick(*symbol, bid - i * symbol->tickSize, ask + i * symbol->tickSize, TICK_FLAG_BID | TICK_FLAG_ASK, 0, 0);
            symbol->ticks.back().time_msc = symbol->ticks.end()[-1 - (i > 1)].time_msc;
        }
    } else if(verb == "liquidity")
        symbol->liquidity = first;
    else if(verb == "stops")
        symbol->stops = static_cast<long>(first);
    else if(verb == "open" || verb == "close")
        symbol->isOpen = verb == "open";
    else if(verb == "retcode")
        nextRetcode = static_cast<uint>(first);
    else if(verb == "answer")
        nextAnswer = static_cast<uint>(first);
    else if(verb == "unsent")
        nextSendRetcode = static_cast<uint>(first);
    else if(verb == "lose")
        isNextLost = true;
    else if(verb == "drop")
        isNextDropped = true;
    else if(verb == "hold" || verb == "release")
        isHeld = verb == "hold";
    else if(verb == "tally") {
        double net = 0;
        for(const SimPosition &held : positions)
            net += held.isBuy ? held.volume : -held.volume;
        std::cout << "terminal: " << open.size() << " orders open, " << std::round(net * 100) << " hundredths of a lot held"
                  << std::endl;
    } else if(verb == "move" || verb == "delete")
        byHand(verb == "delete", first);
    else if(verb == "offline" || verb == "online")
        isConnected = verb == "online";
    else if(verb == "walk" || verb == "still")
        isWalking = verb == "walk";
    else {
        std::cout << "terminal: not understood: " << line << std::endl;
        return;
    }
    std::cout << "terminal: " << line << std::endl;
}

void Terminal::tick(SimSymbol &symbol, const double bid, const double ask, const uint flags, const double last,
                    const double volume) {
    symbol.bid = bid;
    symbol.ask = ask;
    MqlTick next = {};
    next.time_msc = serverMsc();
    if(!symbol.ticks.empty())
        next.time_msc = std::max(next.time_msc, symbol.ticks.back().time_msc);
    next.time = next.time_msc / 1000;
    next.bid = bid;
    next.ask = ask;
    next.last = last;
    next.volume_real = volume;
    next.flags = flags;
    symbol.ticks.push_back(next);
    hasTicked = hasTicked || symbol.name == chart;
    match(symbol);
}

// A step up or down now and then, by the seed alone.
void Terminal::walk(SimSymbol &symbol) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    const int step = static_cast<int>(random % 8);
    if(step > 1)
        return;
    const double by = (step == 0 ? -1 : 1) * symbol.tickSize;
    const double round = symbol.tickSize;
    tick(symbol, std::round((symbol.bid + by) / round) * round, std::round((symbol.ask + by) / round) * round,
         TICK_FLAG_BID | TICK_FLAG_ASK, 0, 0);
}

uint Terminal::execute(const MqlTradeRequest &request, ulong &ticket) {
    if(request.action == TRADE_ACTION_MODIFY)
        return modify(request);
    if(request.action == TRADE_ACTION_REMOVE)
        return remove(request);
    SimSymbol *symbol = find(request.symbol);
    if(symbol == nullptr)
        return TRADE_RETCODE_INVALID;
    if(!symbol->isOpen)
        return TRADE_RETCODE_MARKET_CLOSED;
    if(request.volume < symbol->volumeMin - hair)
        return TRADE_RETCODE_INVALID_VOLUME;
    return request.action == TRADE_ACTION_DEAL ? deal(request, *symbol, ticket) : place(request, *symbol, ticket);
}

SimOrder Terminal::made(const MqlTradeRequest &request) {
    return {ticketNext++, request.symbol,  request.type,    ORDER_STATE_PLACED, request.price,
            request.volume, request.volume, request.magic, request.position,   TimeTradeServer()};
}

uint Terminal::deal(const MqlTradeRequest &request, SimSymbol &symbol, ulong &ticket) {
    const bool isBuy = request.type == ORDER_TYPE_BUY;
    const double price = isBuy ? symbol.ask : symbol.bid;
    const bool isInstant = symbol.execution == SYMBOL_TRADE_EXECUTION_INSTANT;
    const double off = (isBuy ? price - request.price : request.price - price) / symbol.point();
    if(isInstant && off > static_cast<double>(request.deviation) + 0.001)
        return TRADE_RETCODE_REQUOTE;
    if(request.type_filling == ORDER_FILLING_RETURN && symbol.execution != SYMBOL_TRADE_EXECUTION_EXCHANGE)
        return TRADE_RETCODE_INVALID_FILL;
    if(request.type_filling == ORDER_FILLING_FOK && symbol.liquidity < request.volume - hair)
        return TRADE_RETCODE_REJECT;
    if(request.position != 0) {
        const auto held = std::find_if(positions.begin(), positions.end(),
                                       [&](const SimPosition &one) { return one.ticket == request.position; });
        if(held == positions.end())
            return TRADE_RETCODE_POSITION_CLOSED;
        if(held->volume < request.volume - hair)
            return TRADE_RETCODE_INVALID_CLOSE_VOLUME;
    }
    SimOrder order = made(request);
    ticket = order.ticket;
    tell(TRADE_TRANSACTION_ORDER_ADD, ticket);
    fill(order, symbol, price);
    const bool isWhole = order.left < hair;
    finish(order, isWhole ? ORDER_STATE_FILLED : ORDER_STATE_CANCELED);
    return isWhole ? TRADE_RETCODE_DONE : TRADE_RETCODE_DONE_PARTIAL;
}

uint Terminal::place(const MqlTradeRequest &request, SimSymbol &symbol, ulong &ticket) {
    const bool isExchange = symbol.execution == SYMBOL_TRADE_EXECUTION_EXCHANGE;
    SimOrder order = made(request);
    const bool takes = wouldTake(order.isBuy(), order.price, symbol);
    if(takes && !isExchange)
        return TRADE_RETCODE_INVALID_PRICE;
    ticket = order.ticket;
    tell(TRADE_TRANSACTION_ORDER_ADD, ticket);
    const bool isPostOnly = request.type_filling == ORDER_FILLING_BOC;
    const bool isFok = request.type_filling == ORDER_FILLING_FOK;
    const bool isEnough = symbol.liquidity >= order.volume - hair;
    if(takes && !isPostOnly && (!isFok || isEnough))
        fill(order, symbol, order.isBuy() ? symbol.ask : symbol.bid);
    const bool rests = request.type_filling == ORDER_FILLING_RETURN || (isPostOnly && !takes);
    if(order.left < hair)
        finish(order, ORDER_STATE_FILLED);
    else if(rests)
        open[ticket] = order;
    else
        finish(order, ORDER_STATE_CANCELED);
    return TRADE_RETCODE_DONE;
}

uint Terminal::modify(const MqlTradeRequest &request) {
    const auto found = open.find(request.order);
    if(found == open.end())
        return TRADE_RETCODE_INVALID;
    SimOrder &order = found->second;
    SimSymbol &symbol = *find(order.symbol);
    if(std::fabs(order.price - request.price) < hair)
        return TRADE_RETCODE_NO_CHANGES;
    if(wouldTake(order.isBuy(), request.price, symbol) && symbol.execution != SYMBOL_TRADE_EXECUTION_EXCHANGE)
        return TRADE_RETCODE_INVALID_PRICE;
    order.price = request.price;
    tell(TRADE_TRANSACTION_ORDER_UPDATE, order.ticket);
    match(symbol);
    return TRADE_RETCODE_DONE;
}

uint Terminal::remove(const MqlTradeRequest &request) {
    const auto found = open.find(request.order);
    if(found == open.end())
        return TRADE_RETCODE_INVALID;
    const SimOrder order = found->second;
    open.erase(found);
    finish(order, ORDER_STATE_CANCELED);
    return TRADE_RETCODE_DONE;
}

// What a person does to all that rests.
void Terminal::byHand(const bool isDelete, const double price) {
    const std::map<ulong, SimOrder> all = open;
    for(const auto &[ticket, order] : all) {
        MqlTradeRequest request = {};
        request.order = ticket;
        request.price = price;
        if(isDelete)
            remove(request);
        else
            modify(request);
    }
}

// Orders that rest are filled at their price as soon as the other side is there.
void Terminal::match(SimSymbol &symbol) {
    std::vector<ulong> taken;
    for(auto &[ticket, order] : open)
        if(order.symbol == symbol.name && wouldTake(order.isBuy(), order.price, symbol) && symbol.liquidity > hair)
            taken.push_back(ticket);
    for(const ulong ticket : taken) {
        SimOrder &order = open.at(ticket);
        fill(order, symbol, order.price);
        if(order.left > hair) {
            tell(TRADE_TRANSACTION_ORDER_UPDATE, ticket);
            continue;
        }
        const SimOrder whole = order;
        open.erase(ticket);
        finish(whole, ORDER_STATE_FILLED);
    }
}

void Terminal::fill(SimOrder &order, SimSymbol &symbol, const double price) {
    const double volume = std::min(order.left, symbol.liquidity);
    if(volume < hair)
        return;
    symbol.liquidity -= volume;
    order.left -= volume;
    order.state = ORDER_STATE_PARTIAL;
    // The list of deals is behind that of orders.
    dealsDue.push_back({ticketNext++, order.ticket, price, volume, serverMsc(), turns + 1});
    hold(order, volume);
}

// Adds to a position: one of each symbol, or, where it is a hedging account, one of each deal that closes none.
void Terminal::hold(const SimOrder &order, const double volume) {
    for(SimPosition &held : positions) {
        if(held.symbol != order.symbol || (isHedging && held.ticket != order.position))
            continue;
        const double signedVolume = (held.isBuy ? held.volume : -held.volume) + (order.isBuy() ? volume : -volume);
        held.isBuy = signedVolume > 0;
        held.volume = std::fabs(signedVolume);
        std::erase_if(positions, [](const SimPosition &one) { return one.volume < hair; });
        return;
    }
    positions.push_back({order.ticket, order.symbol, order.isBuy(), volume, order.magic});
}

void Terminal::finish(SimOrder order, const ENUM_ORDER_STATE state) {
    order.state = state;
    history[order.ticket] = order;
    tell(TRADE_TRANSACTION_ORDER_DELETE, order.ticket);
    tell(TRADE_TRANSACTION_HISTORY_ADD, order.ticket);
}

void Terminal::tell(const ENUM_TRADE_TRANSACTION_TYPE type, const ulong order, const ulong deal) {
    SimTransaction next = {};
    next.trans.type = type;
    next.trans.order = order;
    next.trans.deal = deal;
    queue.push_back(next);
}
