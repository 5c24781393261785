// The gateway's orders as the terminal has them: what they are known by, what is told of them.
//
// An order is known by its magic number: InpMagic in the upper bits, the gateway's number in the lower 53. The trade server keeps
// it with orders and deals, so that a new advisor finds them again. Transactions may be late, lost or in any order: they only
// say what to look at. What is told is what the terminal's lists of orders and deals say.
//
// Invariants: each deal is told once, after the order's acceptance and before its end; an end is told once all deals are.

#define ORDERS_MAX 2048
#define ORDERS_REVIEW_MS 250
#define ORDER_NUMBER_MASK 9007199254740991

enum ORDER_STAGE {
    // The terminal has not taken it yet.
    ORDER_STAGE_SENT,
    ORDER_STAGE_LIVE,
    ORDER_STAGE_OVER
};

// The request that is under way.
enum ORDER_OP {
    OP_NONE,
    OP_NEW,
    OP_AMEND,
    OP_CANCEL
};

struct TrackedOrder {
    ulong id;
    int market;
    // 0 until it is known.
    ulong ticket;
    bool isBuy;
    bool isMarket;
    // What is not filled at once is cancelled; all or nothing.
    bool isImmediate;
    bool isFok;
    bool isPostOnly;
    // Whether its fills take liquidity.
    bool isTaker;
    double price;
    // Lots; `paid` is the sum of lots times price.
    double volume;
    double filled;
    double paid;
    ORDER_STAGE stage;
    // Once it is over: filled, cancelled, rejected.
    string end;
    ulong overMs;
    // The trade server's time before which nothing of it happened.
    datetime since;
    ORDER_OP op;
    uint opRequest;
    uint opRetcode;
    ulong opMs;
    double opPrice;
    // Whether nobody waits for the request's answer.
    bool isAnswered;
    // Whether the gateway has asked for it in its present session: nobody is told of others.
    bool isKnown;
    bool isDirty;
    // Tickets of the deals that were told.
    ARRAY(ulong, deals);
};

TrackedOrder orders[ORDERS_MAX];
int ordersCount = 0;
ulong ordersReviewedMs = 0;
// When orders that nobody asked for are cancelled next; 0 before the first welcome.
ulong orphansMs = 0;
// Since when the terminal has its server; 0 while it has not.
ulong connectedMs = 0;

// Forgets all; the terminal's lists have it.
void OrdersInit() {
    ordersCount = 0;
    waitingCount = 0;
    questionsCount = 0;
    orphansMs = 0;
    connectedMs = 0;
}

ulong OrderMagic(const ulong id) {
    return ((ulong)InpMagic << 53) | id;
}

int OrderById(const ulong id) {
    for(int i = ordersCount - 1; i >= 0; i--)
        if(orders[i].id == id)
            return i;
    return -1;
}

int OrderByTicket(const ulong ticket) {
    for(int i = ordersCount - 1; i >= 0; i--)
        if(orders[i].ticket == ticket)
            return i;
    return -1;
}

// A place for a new order: a new one, else that of the one that is over for the longest; -1 where none is over.
int OrderSlot() {
    if(ordersCount < ORDERS_MAX) {
        ordersCount++;
        return ordersCount - 1;
    }
    int oldest = -1;
    for(int i = 0; i < ordersCount; i++)
        if(orders[i].stage == ORDER_STAGE_OVER && (oldest < 0 || orders[i].overMs < orders[oldest].overMs))
            oldest = i;
    return oldest;
}

void OrderBegin(const int i, const ulong id) {
    orders[i].id = id;
    orders[i].market = -1;
    orders[i].ticket = 0;
    orders[i].isBuy = false;
    orders[i].isMarket = false;
    orders[i].isImmediate = false;
    orders[i].isFok = command.timeInForce == "fok";
    orders[i].isPostOnly = command.postOnly == "slide" || command.postOnly == "reject";
    orders[i].isTaker = false;
    orders[i].price = 0;
    orders[i].volume = 0;
    orders[i].filled = 0;
    orders[i].paid = 0;
    orders[i].stage = ORDER_STAGE_SENT;
    orders[i].end = "";
    orders[i].overMs = 0;
    orders[i].since = TimeTradeServer();
    orders[i].op = OP_NONE;
    orders[i].opRequest = 0;
    orders[i].opRetcode = 0;
    orders[i].opMs = 0;
    orders[i].opPrice = 0;
    orders[i].isAnswered = false;
    orders[i].isKnown = true;
    orders[i].isDirty = false;
    ArrayResize(orders[i].deals, 0);
}

// Amounts of the link from lots.
double OrderAmount(const int i, const double volume) {
    return volume * markets[orders[i].market].contract;
}

double OrderOpenAmount(const int i) {
    return OrderAmount(i, orders[i].volume - orders[i].filled);
}

// Less than half of a step is nothing.
bool OrderIsNothing(const int i, const double volume) {
    return volume < markets[orders[i].market].volumeStep / 2;
}

void OrderSay(const int i, const string type, const string fields) {
    if(orders[i].isKnown)
        ReportSay(type, orders[i].id, fields);
}

void OrderAccepted(const int i) {
    if(orders[i].stage != ORDER_STAGE_SENT)
        return;
    orders[i].stage = ORDER_STAGE_LIVE;
    if(orders[i].op == OP_NEW)
        orders[i].op = OP_NONE;
    string fields = "";
    if(orders[i].ticket != 0)
        fields += JsonTextField("venue_order", IntegerToString((long)orders[i].ticket));
    if(!orders[i].isMarket)
        fields += JsonNumberField("price", orders[i].price);
    OrderSay(i, "accepted", fields);
}

void OrderRefused(const int i, const string reason) {
    orders[i].op = OP_NONE;
    orders[i].stage = ORDER_STAGE_OVER;
    orders[i].end = "rejected";
    orders[i].overMs = GetTickCount64();
    OrderSay(i, "rejected", JsonTextField("reason", reason));
}

void OrderAmended(const int i) {
    orders[i].op = OP_NONE;
    orders[i].price = orders[i].opPrice;
    OrderSay(i, "amended", JsonNumberField("price", orders[i].price) + JsonNumberField("total", OrderAmount(i, orders[i].volume)));
}

// It is over. Whatever was asked of it is answered.
void OrderOver(const int i, const string end, const string reason) {
    const ORDER_OP op = orders[i].op;
    orders[i].op = OP_NONE;
    orders[i].stage = ORDER_STAGE_OVER;
    orders[i].end = end;
    orders[i].overMs = GetTickCount64();
    if(end == "cancelled")
        OrderSay(i, "cancelled", JsonTextField("reason", op == OP_CANCEL ? "asked" : reason));
    if(orders[i].isAnswered)
        return;
    if(op == OP_AMEND)
        OrderSay(i, "amend_rejected", JsonTextField("reason", "already_closed"));
    if(op == OP_CANCEL && end == "filled")
        OrderSay(i, "cancel_rejected", JsonTextField("reason", "already_closed"));
}

// The request that is under way did not do.
void OrderOpRefused(const int i, const string reason) {
    const ORDER_OP op = orders[i].op;
    if(op == OP_NEW) {
        OrderRefused(i, reason);
        return;
    }
    orders[i].op = OP_NONE;
    if(!orders[i].isAnswered && op != OP_NONE)
        OrderSay(i, op == OP_AMEND ? "amend_rejected" : "cancel_rejected", JsonTextField("reason", reason));
}

// The trade server's answer to a request.
void OrderAnswered(const int i, const uint retcode, const ulong ticket) {
    orders[i].opRetcode = retcode;
    if(orders[i].ticket == 0)
        orders[i].ticket = ticket;
    string refusal = RetcodeRefusal(retcode, orders[i].isBuy);
    if(StringLen(refusal) == 0 && orders[i].op == OP_AMEND) {
        OrderAmended(i);
        return;
    }
    if(StringLen(refusal) == 0) {
        OrderReview(i);
        return;
    }
    Print("tickring: order ", IntegerToString((long)orders[i].id), ": return code ", IntegerToString((long)retcode));
    // Then the lists will tell.
    if(RetcodeIsDoubt(retcode))
        return;
    if(retcode == TRADE_RETCODE_INVALID_PRICE && orders[i].isPostOnly)
        refusal = "post_only";
    // What it was filled comes before, and its end is the better answer.
    if(orders[i].op != OP_NEW)
        OrderReview(i);
    OrderOpRefused(i, refusal);
}

// Tells what the terminal's lists say of an order.
void OrderReview(const int i) {
    orders[i].isDirty = false;
    if(orders[i].stage == ORDER_STAGE_OVER)
        return;
    if(orders[i].ticket == 0)
        orders[i].ticket = TicketOf(orders[i].id, orders[i].since - 3600);
    if(orders[i].ticket == 0)
        OrderMissing(i);
    else if(OrderSelect(orders[i].ticket))
        OrderOpen(i);
    else if(HistoryOrderSelect(orders[i].ticket))
        OrderClosed(i);
}

// It was sent and is nowhere. An answer that never came, or that left it open, is what the lists say once they would have it.
void OrderMissing(const int i) {
    if(!OrderIsOverdue(i))
        return;
    const string refusal = RetcodeRefusal(orders[i].opRetcode, orders[i].isBuy);
    const bool isSilence = orders[i].opRetcode == 0 || StringLen(refusal) == 0;
    Print("tickring: order ", IntegerToString((long)orders[i].id), " never came to the trade server");
    OrderRefused(i, isSilence ? "timed_out" : refusal);
}

bool OrderIsOverdue(const int i) {
    return orders[i].op != OP_NONE && GetTickCount64() - orders[i].opMs >= (ulong)InpSettleMs && TerminalIsSettled();
}

// It is selected, and in the list of what is open.
void OrderOpen(const int i) {
    const ENUM_ORDER_STATE state = (ENUM_ORDER_STATE)OrderGetInteger(ORDER_STATE);
    if(state == ORDER_STATE_STARTED || state == ORDER_STATE_REQUEST_ADD)
        return;
    const double executed = OrderGetDouble(ORDER_VOLUME_INITIAL) - OrderGetDouble(ORDER_VOLUME_CURRENT);
    const double price = OrderGetDouble(ORDER_PRICE_OPEN);
    const long type = OrderGetInteger(ORDER_TYPE);
    OrderAccepted(i);
    if(!OrderIsNothing(i, executed - orders[i].filled))
        OrderDeals(i);
    const double half = markets[orders[i].market].tickSize / 2;
    if(orders[i].op == OP_AMEND && MathAbs(price - orders[i].opPrice) < half)
        OrderAmended(i);
    // Somebody has moved it in the terminal.
    const bool isLimit = type == ORDER_TYPE_BUY_LIMIT || type == ORDER_TYPE_SELL_LIMIT;
    if(orders[i].op == OP_NONE && isLimit && MathAbs(price - orders[i].price) > half) {
        orders[i].opPrice = price;
        OrderAmended(i);
    }
    if(OrderIsOverdue(i)) {
        const string refusal = RetcodeRefusal(orders[i].opRetcode, orders[i].isBuy);
        OrderOpRefused(i, orders[i].opRetcode == 0 || StringLen(refusal) == 0 ? "timed_out" : refusal);
    }
}

// It is selected, and in the history.
void OrderClosed(const int i) {
    const ulong ticket = orders[i].ticket;
    const ENUM_ORDER_STATE state = (ENUM_ORDER_STATE)HistoryOrderGetInteger(ticket, ORDER_STATE);
    const double executed =
        HistoryOrderGetDouble(ticket, ORDER_VOLUME_INITIAL) - HistoryOrderGetDouble(ticket, ORDER_VOLUME_CURRENT);
    if(orders[i].stage == ORDER_STAGE_SENT && OrderIsNothing(i, executed)) {
        // It was never in the market.
        const bool isTaken = state == ORDER_STATE_CANCELED || state == ORDER_STATE_EXPIRED;
        if(state == ORDER_STATE_REJECTED || (isTaken && (orders[i].isPostOnly || orders[i].isFok))) {
            OrderRefused(i, !isTaken ? "refused" : (orders[i].isFok ? "fill_or_kill" : "post_only"));
            return;
        }
    }
    OrderAccepted(i);
    if(!OrderIsNothing(i, executed - orders[i].filled))
        OrderDeals(i);
    // Deals may come into the list behind their order.
    if(!OrderIsNothing(i, executed - orders[i].filled))
        return;
    if(OrderIsNothing(i, orders[i].volume - orders[i].filled))
        OrderOver(i, "filled", "");
    else
        OrderOver(i, "cancelled", orders[i].isImmediate ? "immediate" : "venue");
}

// Tells the deals of an order that were not told.
void OrderDeals(const int i) {
    if(!HistorySelect(orders[i].since - 3600, TimeTradeServer() + 86400))
        return;
    for(int k = 0; k < HistoryDealsTotal(); k++) {
        const ulong deal = HistoryDealGetTicket(k);
        if(deal == 0 || (ulong)HistoryDealGetInteger(deal, DEAL_ORDER) != orders[i].ticket || DealIsTold(i, deal))
            continue;
        const int count = ArraySize(orders[i].deals);
        ArrayResize(orders[i].deals, count + 1, 16);
        orders[i].deals[count] = deal;
        const double price = HistoryDealGetDouble(deal, DEAL_PRICE);
        const double volume = HistoryDealGetDouble(deal, DEAL_VOLUME);
        orders[i].filled += volume;
        orders[i].paid += volume * price;
        const bool isPrinted = !markets[orders[i].market].hasTrades;
        OrderSay(i, "filled", JsonNumberField("price", price) + JsonNumberField("amount", OrderAmount(i, volume)) +
                                  JsonTextField("liquidity", orders[i].isTaker ? "taker" : "maker") + ",\"print\":" +
                                  (isPrinted ? "true" : "false") + JsonTextField("trade", IntegerToString((long)deal)) +
                                  JsonWholeField("time_ms", ServerToUtcMs(HistoryDealGetInteger(deal, DEAL_TIME_MSC))));
    }
}

bool DealIsTold(const int i, const ulong deal) {
    for(int k = ArraySize(orders[i].deals) - 1; k >= 0; k--)
        if(orders[i].deals[k] == deal)
            return true;
    return false;
}

// The ticket of the gateway's order of this number, open or in the history from a time on; 0 where there is none.
ulong TicketOf(const ulong id, const datetime since) {
    const ulong magic = OrderMagic(id);
    for(int k = OrdersTotal() - 1; k >= 0; k--) {
        const ulong ticket = OrderGetTicket(k);
        if(ticket != 0 && (ulong)OrderGetInteger(ORDER_MAGIC) == magic)
            return ticket;
    }
    if(!HistorySelect(since, TimeTradeServer() + 86400))
        return 0;
    for(int k = HistoryOrdersTotal() - 1; k >= 0; k--) {
        const ulong ticket = HistoryOrderGetTicket(k);
        if(ticket != 0 && (ulong)HistoryOrderGetInteger(ticket, ORDER_MAGIC) == magic)
            return ticket;
    }
    return 0;
}

// An order that an earlier advisor has sent; -1 where the terminal has none of this number, or not all of its deals yet.
int OrderAdopt(const ulong id) {
    const ulong ticket = TicketOf(id, TimeTradeServer() - (datetime)InpHistoryDays * 86400);
    if(ticket == 0)
        return -1;
    const bool isOpen = OrderSelect(ticket);
    if(!isOpen && !HistoryOrderSelect(ticket))
        return -1;
    const string symbol = isOpen ? OrderGetString(ORDER_SYMBOL) : HistoryOrderGetString(ticket, ORDER_SYMBOL);
    // An earlier advisor may have had other symbols.
    const int market = MarketAlso(symbol);
    const int i = market < 0 ? -1 : OrderSlot();
    if(i < 0)
        return -1;
    const long type = isOpen ? OrderGetInteger(ORDER_TYPE) : HistoryOrderGetInteger(ticket, ORDER_TYPE);
    OrderBegin(i, id);
    orders[i].isFok = false;
    orders[i].isPostOnly = false;
    orders[i].isKnown = false;
    orders[i].market = market;
    orders[i].ticket = ticket;
    orders[i].stage = ORDER_STAGE_LIVE;
    orders[i].isBuy = type == ORDER_TYPE_BUY || type == ORDER_TYPE_BUY_LIMIT;
    orders[i].isMarket = type == ORDER_TYPE_BUY || type == ORDER_TYPE_SELL;
    orders[i].isImmediate = orders[i].isMarket;
    orders[i].isTaker = orders[i].isMarket;
    orders[i].since = (datetime)(isOpen ? OrderGetInteger(ORDER_TIME_SETUP) : HistoryOrderGetInteger(ticket, ORDER_TIME_SETUP));
    orders[i].price = isOpen ? OrderGetDouble(ORDER_PRICE_OPEN) : HistoryOrderGetDouble(ticket, ORDER_PRICE_OPEN);
    orders[i].volume = isOpen ? OrderGetDouble(ORDER_VOLUME_INITIAL) : HistoryOrderGetDouble(ticket, ORDER_VOLUME_INITIAL);
    if(!isOpen && HistoryOrderGetInteger(ticket, ORDER_STATE) == ORDER_STATE_REJECTED)
        OrderRefused(i, "");
    else
        OrderReview(i);
    return i;
}

// Whether an order is in neither list, or its deals are not all there: what it is can't be said now.
bool OrderIsBetween(const int i) {
    return orders[i].stage == ORDER_STAGE_LIVE && orders[i].ticket != 0 && !OrderSelect(orders[i].ticket);
}

// Looks at what transactions have named, and now and then at all.
void OrdersTurn(const ulong nowMs) {
    const bool isAll = nowMs >= ordersReviewedMs;
    if(isAll)
        ordersReviewedMs = nowMs + ORDERS_REVIEW_MS;
    for(int i = 0; i < ordersCount; i++)
        if(orders[i].stage != ORDER_STAGE_OVER && (isAll || orders[i].isDirty))
            OrderReview(i);
}

// Cancels what rests and was not asked for since the gateway began anew: it has forgotten it.
void OrphansTurn(const ulong nowMs) {
    if(linkState != LINK_UP || orphansMs == 0 || nowMs < orphansMs || InpKeepOrphans)
        return;
    orphansMs = nowMs + (ulong)InpSettleMs;
    for(int k = OrdersTotal() - 1; k >= 0; k--) {
        const ulong ticket = OrderGetTicket(k);
        const ulong magic = (ulong)OrderGetInteger(ORDER_MAGIC);
        const long type = OrderGetInteger(ORDER_TYPE);
        if(ticket == 0 || magic >> 53 != (ulong)InpMagic || (type != ORDER_TYPE_BUY_LIMIT && type != ORDER_TYPE_SELL_LIMIT))
            continue;
        const ulong id = magic & ORDER_NUMBER_MASK;
        const int i = OrderById(id);
        if(i >= 0 && orders[i].isKnown && orders[i].stage != ORDER_STAGE_OVER)
            continue;
        MqlTradeRequest request = {};
        MqlTradeResult result = {};
        request.action = TRADE_ACTION_REMOVE;
        request.order = ticket;
        Print("tickring: order ", IntegerToString((long)id), " is of a gateway that has forgotten it, cancelled");
        if(!OrderSendAsync(request, result))
            Print("tickring: not sent: ", IntegerToString((long)result.retcode));
    }
}

// What OnTradeTransaction is for.
void OrdersTransaction(const MqlTradeTransaction &trans, const MqlTradeRequest &request, const MqlTradeResult &result) {
    if(trans.type == TRADE_TRANSACTION_REQUEST) {
        for(int i = ordersCount - 1; i >= 0; i--) {
            const bool isNew = orders[i].op == OP_NEW && request.magic == OrderMagic(orders[i].id);
            if(isNew || (orders[i].op != OP_NONE && orders[i].opRequest == result.request_id)) {
                OrderAnswered(i, result.retcode, result.order);
                return;
            }
        }
        return;
    }
    if(trans.order == 0)
        return;
    const int i = OrderByTicket(trans.order);
    if(i >= 0)
        orders[i].isDirty = true;
    else
        // Of one that is not known by its ticket yet, if it is ours at all.
        for(int k = ordersCount - 1; k >= 0; k--)
            if(orders[k].op == OP_NEW && orders[k].ticket == 0)
                orders[k].isDirty = true;
}

// Notes since when the terminal has its server: its lists are whole some time after.
void TerminalTurn(const ulong nowMs) {
    if(TerminalInfoInteger(TERMINAL_CONNECTED) == 0)
        connectedMs = 0;
    else if(connectedMs == 0)
        connectedMs = nowMs;
}

bool TerminalIsSettled() {
    return connectedMs != 0 && GetTickCount64() - connectedMs >= (ulong)InpSettleMs;
}
