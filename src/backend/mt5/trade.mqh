// Trade requests: what a new order becomes on this symbol and this account, and how it is sent.

// How long an order may rest: until it is cancelled, where the symbol has that.
ENUM_ORDER_TYPE_TIME TradeLifetime(const string symbol) {
    const long modes = SymbolInfoInteger(symbol, SYMBOL_EXPIRATION_MODE);
    return (modes & SYMBOL_EXPIRATION_GTC) != 0 ? ORDER_TIME_GTC : ORDER_TIME_DAY;
}

// Makes the request of `command` for an order; the link's word for a refusal, or an empty text. A request without an action
// says that the order may only take, and that there is nothing to take.
string TradeNew(const int i, MqlTradeRequest &request) {
    const int market = orders[i].market;
    if(command.validUntilMs > 0 && UtcMs() >= command.validUntilMs)
        return "timed_out";
    const string refusal = TradeVolume(market, command.amount, orders[i].volume);
    if(StringLen(refusal) > 0)
        return refusal;
    if(TerminalInfoInteger(TERMINAL_CONNECTED) == 0)
        return "unavailable";
    request.symbol = markets[market].symbol;
    request.volume = orders[i].volume;
    request.magic = OrderMagic(orders[i].id);
    // For people: brokers change comments, so that nothing depends on it.
    request.comment = "tickring " + IntegerToString((long)orders[i].id);
    const string placed = command.isMarket ? TradeDeal(i, request) : TradeLimit(i, request);
    if(StringLen(placed) > 0 || !command.reduceOnly || request.action == 0)
        return placed;
    return TradeReduce(i, request);
}

// Lots of an amount.
string TradeVolume(const int market, const double amount, double &volume) {
    const double steps = amount / MarketSmallest(market);
    if(MathAbs(steps - MathRound(steps)) > 0.000001)
        return "invalid_amount";
    volume = NormalizeDouble(MathRound(steps) * markets[market].volumeStep, 8);
    if(volume < markets[market].volumeMin - markets[market].volumeStep / 2)
        return "invalid_amount";
    if(volume > markets[market].volumeMax + markets[market].volumeStep / 2)
        return "amount_too_large";
    return "";
}

// At the market's price, within InpDeviation points where the symbol's execution keeps to it.
string TradeDeal(const int i, MqlTradeRequest &request) {
    MqlTick tick;
    if(!SymbolInfoTick(request.symbol, tick))
        return "unavailable";
    request.action = TRADE_ACTION_DEAL;
    request.type = orders[i].isBuy ? ORDER_TYPE_BUY : ORDER_TYPE_SELL;
    request.price = orders[i].isBuy ? tick.ask : tick.bid;
    request.deviation = (ulong)InpDeviation;
    orders[i].isTaker = true;
    return TradeFilling(orders[i].market, request);
}

// A deal's filling mode: whatever is there and no more, where the symbol has that; all or nothing if asked for.
string TradeFilling(const int market, MqlTradeRequest &request) {
    const bool isQuoted = markets[market].execution == SYMBOL_TRADE_EXECUTION_INSTANT ||
                          markets[market].execution == SYMBOL_TRADE_EXECUTION_REQUEST;
    const bool hasFok = isQuoted || (markets[market].filling & SYMBOL_FILLING_FOK) != 0;
    const bool hasIoc = (markets[market].filling & SYMBOL_FILLING_IOC) != 0;
    if(command.timeInForce == "fok") {
        request.type_filling = ORDER_FILLING_FOK;
        return hasFok ? "" : "fill_or_kill";
    }
    if(hasIoc)
        request.type_filling = ORDER_FILLING_IOC;
    else
        request.type_filling = hasFok ? ORDER_FILLING_FOK : ORDER_FILLING_RETURN;
    return "";
}

string TradeLimit(const int i, MqlTradeRequest &request) {
    const int market = orders[i].market;
    double price = command.price;
    const string refusal = TradePrice(market, orders[i].isBuy, command.postOnly, price);
    if(StringLen(refusal) > 0)
        return refusal;
    orders[i].price = price;
    const bool isExchange = markets[market].execution == SYMBOL_TRADE_EXECUTION_EXCHANGE;
    const bool wouldTake = TradeWouldTake(request.symbol, orders[i].isBuy, price);
    orders[i].isTaker = wouldTake;
    if(!isExchange && wouldTake)
        return TradeTaking(i, request);
    if(!isExchange && orders[i].isImmediate)
        return command.timeInForce == "fok" ? "fill_or_kill" : "";
    request.action = TRADE_ACTION_PENDING;
    request.type = orders[i].isBuy ? ORDER_TYPE_BUY_LIMIT : ORDER_TYPE_SELL_LIMIT;
    request.price = price;
    request.type_time = TradeLifetime(request.symbol);
    request.type_filling = ORDER_FILLING_RETURN;
    if(!isExchange)
        return "";
    // An exchange's order takes what it can: only there are these told apart by the filling mode.
    if(command.postOnly != "no") {
        request.type_filling = ORDER_FILLING_BOC;
        return (markets[market].filling & SYMBOL_FILLING_BOC) != 0 ? "" : "post_only";
    }
    return orders[i].isImmediate ? TradeFilling(market, request) : "";
}

// A limit that takes, where no order may rest beyond the other side's best: a deal that may deviate as far as the limit.
string TradeTaking(const int i, MqlTradeRequest &request) {
    const int market = orders[i].market;
    const bool isBuy = orders[i].isBuy;
    // Market execution fills at any price, whatever the deviation: the limit would not be kept.
    if(markets[market].execution == SYMBOL_TRADE_EXECUTION_MARKET && !InpLoseLimits)
        return isBuy ? "price_too_high" : "price_too_low";
    const double limit = orders[i].price;
    const string refusal = TradeDeal(i, request);
    if(StringLen(refusal) > 0)
        return refusal;
    const double point = SymbolInfoDouble(request.symbol, SYMBOL_POINT);
    request.deviation = (ulong)MathFloor(MathAbs(limit - request.price) / point + 0.000001);
    // What is left of it does not rest.
    orders[i].isImmediate = true;
    return "";
}

// Whether a price is one, moved if it may only rest and would take.
string TradePrice(const int market, const bool isBuy, const string postOnly, double &price) {
    const double tick = markets[market].tickSize;
    if(price <= 0)
        return "price_too_low";
    if(MathAbs(price / tick - MathRound(price / tick)) > 0.0001)
        return "price_tick";
    const string symbol = markets[market].symbol;
    if(postOnly == "no" || !TradeWouldTake(symbol, isBuy, price))
        return "";
    if(postOnly == "reject")
        return "post_only";
    MqlTick last;
    if(!SymbolInfoTick(symbol, last))
        return "unavailable";
    const double stops = (double)SymbolInfoInteger(symbol, SYMBOL_TRADE_STOPS_LEVEL) * SymbolInfoDouble(symbol, SYMBOL_POINT);
    const double away = MathMax(tick, stops);
    const double moved = isBuy ? MathFloor((last.ask - away) / tick + 0.0001) : MathCeil((last.bid + away) / tick - 0.0001);
    price = NormalizeDouble(moved * tick, 8);
    return price > 0 ? "" : "post_only";
}

bool TradeWouldTake(const string symbol, const bool isBuy, const double price) {
    MqlTick tick;
    if(!SymbolInfoTick(symbol, tick))
        return false;
    // A float of a price is never off by as much.
    const double hair = SymbolInfoDouble(symbol, SYMBOL_POINT) / 1000;
    return isBuy ? tick.ask > 0 && price >= tick.ask - hair : tick.bid > 0 && price <= tick.bid + hair;
}

// An order that may only make a position smaller. On a netting account the gateway's check is enough. On a hedging one a deal does
// so for one position that is told, and an order that rests never does.
string TradeReduce(const int i, MqlTradeRequest &request) {
    if(AccountInfoInteger(ACCOUNT_MARGIN_MODE) != ACCOUNT_MARGIN_MODE_RETAIL_HEDGING)
        return "";
    if(request.action != TRADE_ACTION_DEAL)
        return "reduce_only";
    const long opposite = orders[i].isBuy ? POSITION_TYPE_SELL : POSITION_TYPE_BUY;
    for(int k = 0; k < PositionsTotal(); k++) {
        const ulong ticket = PositionGetTicket(k);
        const bool isOurs = (ulong)PositionGetInteger(POSITION_MAGIC) >> 53 == (ulong)InpMagic;
        if(ticket == 0 || !isOurs || PositionGetString(POSITION_SYMBOL) != request.symbol)
            continue;
        if(PositionGetInteger(POSITION_TYPE) != opposite)
            continue;
        if(PositionGetDouble(POSITION_VOLUME) < request.volume - markets[orders[i].market].volumeStep / 2)
            continue;
        request.position = ticket;
        return "";
    }
    return "reduce_only";
}

// Sends a request without waiting for its answer. What the terminal does not even send is refused at once.
void TradeSend(const int i, const ORDER_OP op, MqlTradeRequest &request) {
    MqlTradeResult result = {};
    orders[i].op = op;
    orders[i].isAnswered = false;
    orders[i].opMs = GetTickCount64();
    orders[i].opRetcode = 0;
    orders[i].since = TimeTradeServer();
    ResetLastError();
    const bool isSent = OrderSendAsync(request, result);
    orders[i].opRequest = result.request_id;
    if(isSent)
        return;
    const uint retcode = result.retcode != 0 ? result.retcode : TRADE_RETCODE_ERROR;
    Print("tickring: order ", IntegerToString((long)orders[i].id), " not sent: ", IntegerToString((long)retcode), " ",
          result.comment, " (error ", IntegerToString(GetLastError()), ")");
    OrderOpRefused(i, RetcodeRefusal(retcode, orders[i].isBuy));
}
