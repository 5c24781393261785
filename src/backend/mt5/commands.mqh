// What the gateway asks for, and what becomes of it: new, amend, cancel, status. docs/mt5.md says how each is done.
//
// Invariants: each new, amend and cancel has exactly one answer, those of one order in the order of its commands: what comes
// while a request of its order is under way waits behind it.

#define COMMANDS_WAITING_MAX 1024

struct Command {
    string type;
    ulong order;
    string instrument;
    bool isBuy;
    bool isMarket;
    bool hasPrice;
    double price;
    // Of an amend what it is to be in all, what is filled included.
    double amount;
    // gtc, ioc, fok; and no, slide, reject.
    string timeInForce;
    string postOnly;
    bool reduceOnly;
    string label;
    long validUntilMs;
};

Command command;
Command waiting[COMMANDS_WAITING_MAX];
int waitingCount = 0;
// Orders whose state is asked for and that are not found: the terminal may not have them yet.
ulong questions[COMMANDS_WAITING_MAX];
int questionsCount = 0;

// Reads a command's fields; false where one is missing or not valid.
bool CommandRead(const JsonObject &message, const string type, const ulong order) {
    command.type = type;
    command.order = order;
    command.instrument = "";
    command.isBuy = false;
    command.isMarket = false;
    command.price = 0;
    command.amount = 0;
    command.timeInForce = "";
    command.postOnly = "";
    command.reduceOnly = JsonFlag(message, "reduce_only");
    command.label = "";
    command.validUntilMs = 0;
    JsonText(message, "label", command.label);
    command.hasPrice = JsonFind(message, "price") >= 0;
    if(command.hasPrice && !JsonDecimal(message, "price", command.price))
        return false;
    if(type == "cancel" || type == "status")
        return true;
    if(!JsonDecimal(message, type == "amend" ? "total" : "amount", command.amount) || command.amount <= 0)
        return false;
    if(!JsonText(message, "post_only", command.postOnly))
        return false;
    if(command.postOnly != "no" && command.postOnly != "slide" && command.postOnly != "reject")
        return false;
    if(type == "amend")
        return true;
    return CommandReadNew(message);
}

bool CommandReadNew(const JsonObject &message) {
    string side = "";
    string orderType = "";
    if(!JsonText(message, "instrument", command.instrument) || !JsonText(message, "side", side) ||
       !JsonText(message, "order_type", orderType) || !JsonText(message, "time_in_force", command.timeInForce))
        return false;
    if((side != "buy" && side != "sell") || (orderType != "limit" && orderType != "market"))
        return false;
    if(command.timeInForce != "gtc" && command.timeInForce != "ioc" && command.timeInForce != "fok")
        return false;
    if(JsonFind(message, "valid_until_ms") >= 0 && !JsonWhole(message, "valid_until_ms", command.validUntilMs))
        return false;
    command.isBuy = side == "buy";
    command.isMarket = orderType == "market";
    return command.isMarket || command.hasPrice;
}

void CommandHandle() {
    if(command.type == "new")
        CommandNew();
    else if(command.type == "status")
        CommandStatus(command.order);
    else
        CommandFollow();
}

void CommandNew() {
    if(OrderById(command.order) >= 0) {
        ReportSay("rejected", command.order, JsonTextField("reason", "refused"));
        return;
    }
    const int i = OrderSlot();
    if(i < 0) {
        ReportSay("rejected", command.order, JsonTextField("reason", "too_many_open_orders"));
        return;
    }
    OrderBegin(i, command.order);
    const int market = MarketByName(command.instrument, ArraySize(markets));
    if(market < 0) {
        OrderRefused(i, "unavailable");
        return;
    }
    orders[i].market = market;
    orders[i].isBuy = command.isBuy;
    orders[i].isMarket = command.isMarket;
    orders[i].isImmediate = command.isMarket || command.timeInForce != "gtc";
    orders[i].price = command.price;
    MqlTradeRequest request = {};
    const string refusal = TradeNew(i, request);
    if(StringLen(refusal) > 0) {
        OrderRefused(i, refusal);
        return;
    }
    // It is to take now or not at all, and there is nothing that it could take.
    if(request.action == 0) {
        OrderAccepted(i);
        OrderOver(i, "cancelled", "immediate");
        return;
    }
    TradeSend(i, OP_NEW, request);
}

// An amend or a cancel: of an order that is under way it waits.
void CommandFollow() {
    const int i = OrderById(command.order);
    if(i >= 0 && orders[i].op != OP_NONE) {
        if(waitingCount == COMMANDS_WAITING_MAX) {
            ReportSay(command.type + "_rejected", command.order, JsonTextField("reason", "full"));
            return;
        }
        waiting[waitingCount] = command;
        waitingCount++;
        return;
    }
    if(i >= 0)
        OrderReview(i);
    if(i < 0 || orders[i].stage == ORDER_STAGE_OVER)
        ReportSay(command.type + "_rejected", command.order,
                  JsonTextField("reason", i < 0 ? "order_not_found" : "already_closed"));
    else if(command.type == "cancel")
        CommandCancel(i);
    else
        CommandAmend(i);
}

// What has waited for an order that is not under way any more.
void CommandsTurn() {
    int left = 0;
    for(int k = 0; k < waitingCount; k++) {
        const int i = OrderById(waiting[k].order);
        if(i >= 0 && orders[i].op != OP_NONE) {
            // What waits longer than its place is moved up.
            if(left != k)
                waiting[left] = waiting[k];
            left++;
            continue;
        }
        command = waiting[k];
        CommandFollow();
    }
    waitingCount = left;
}

void CommandCancel(const int i) {
    MqlTradeRequest request = {};
    request.action = TRADE_ACTION_REMOVE;
    request.order = orders[i].ticket;
    request.symbol = markets[orders[i].market].symbol;
    TradeSend(i, OP_CANCEL, request);
}

// A terminal moves the price of an order that rests; what it is for can't be changed.
void CommandAmend(const int i) {
    const double half = MarketSmallest(orders[i].market) / 2;
    if(MathAbs(OrderAmount(i, orders[i].volume) - command.amount) > half) {
        const bool isLess = command.amount < OrderAmount(i, orders[i].filled) + half;
        ReportSay("amend_rejected", command.order, JsonTextField("reason", isLess ? "amount_below_filled" : "invalid_amount"));
        return;
    }
    double price = command.hasPrice ? command.price : orders[i].price;
    const string refusal = TradePrice(orders[i].market, orders[i].isBuy, command.postOnly, price);
    if(StringLen(refusal) > 0) {
        ReportSay("amend_rejected", command.order, JsonTextField("reason", refusal));
        return;
    }
    orders[i].opPrice = price;
    if(MathAbs(price - orders[i].price) < markets[orders[i].market].tickSize / 2) {
        OrderAmended(i);
        return;
    }
    MqlTradeRequest request = {};
    request.action = TRADE_ACTION_MODIFY;
    request.order = orders[i].ticket;
    request.symbol = markets[orders[i].market].symbol;
    request.price = price;
    request.type_time = TradeLifetime(request.symbol);
    TradeSend(i, OP_AMEND, request);
}

// What has become of an order: from memory, else from the terminal's lists. One that is in neither may still be on its way to
// them: the answer waits until it would be there.
void CommandStatus(const ulong id) {
    if(StatusFound(id))
        return;
    if(questionsCount == COMMANDS_WAITING_MAX)
        // It is asked again on the next connection.
        LinkCut("too many questions");
    else {
        questions[questionsCount] = id;
        questionsCount++;
    }
}

// Answers what was asked and not found, once it is found or would be.
void QuestionsTurn() {
    if(questionsCount == 0)
        return;
    const bool isSettled = TerminalIsSettled();
    int left = 0;
    for(int k = 0; k < questionsCount; k++) {
        const ulong id = questions[k];
        if(StatusFound(id))
            continue;
        if(isSettled && OrderById(id) < 0)
            ReportSay("order_status", id, JsonTextField("state", "unknown"));
        else {
            questions[left] = id;
            left++;
        }
    }
    questionsCount = left;
}

// Answers where the order is known and where it stands can be said.
bool StatusFound(const ulong id) {
    int i = OrderById(id);
    if(i < 0)
        i = OrderAdopt(id);
    else
        OrderReview(i);
    if(i < 0 || OrderIsBetween(i))
        return false;
    orders[i].isKnown = true;
    StatusSay(i);
    return true;
}

void StatusSay(const int i) {
    string fields = "";
    if(orders[i].filled > 0) {
        fields = JsonNumberField("filled", OrderAmount(i, orders[i].filled)) +
                 JsonNumberField("average", orders[i].paid / orders[i].filled);
    }
    if(orders[i].stage == ORDER_STAGE_SENT)
        fields = JsonTextField("state", "pending");
    else if(orders[i].stage == ORDER_STAGE_OVER)
        fields += JsonTextField("state", orders[i].end);
    else
        fields += JsonTextField("state", "open") + JsonNumberField("price", orders[i].price) +
                  JsonNumberField("amount", OrderOpenAmount(i));
    ReportSay("order_status", orders[i].id, fields);
}

// The gateway does not go on where it was: what waits is forgotten there, and it asks for what it knows.
void OrdersForgotten() {
    waitingCount = 0;
    questionsCount = 0;
    for(int i = 0; i < ordersCount; i++) {
        orders[i].isKnown = false;
        orders[i].isAnswered = true;
    }
    orphansMs = GetTickCount64() + (ulong)InpSettleMs;
}
