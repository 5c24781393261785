// What a trade server's return code means on the venue link: the one table of them.

// The link's word for a refusal, or an empty text for a request that was taken. A price that the server does not take for an
// order that is to rest is beyond the other side's best.
string RetcodeRefusal(const uint retcode, const bool isBuy) {
    switch(retcode) {
        case TRADE_RETCODE_PLACED:
        case TRADE_RETCODE_DONE:
        case TRADE_RETCODE_DONE_PARTIAL:
        case TRADE_RETCODE_NO_CHANGES:
            return "";
        case TRADE_RETCODE_INVALID_PRICE:
            return isBuy ? "price_too_high" : "price_too_low";
        // The price was gone: such requests are executed at it or not at all.
        case TRADE_RETCODE_REQUOTE:
        case TRADE_RETCODE_PRICE_CHANGED:
            return "fill_or_kill";
        case TRADE_RETCODE_TIMEOUT:
            return "timed_out";
        case TRADE_RETCODE_INVALID_VOLUME:
            return "invalid_amount";
        case TRADE_RETCODE_TRADE_DISABLED:
        case TRADE_RETCODE_MARKET_CLOSED:
            return "book_closed";
        case TRADE_RETCODE_NO_MONEY:
            return "notional_too_large";
        case TRADE_RETCODE_PRICE_OFF:
        case TRADE_RETCODE_SERVER_DISABLES_AT:
        case TRADE_RETCODE_CLIENT_DISABLES_AT:
        case TRADE_RETCODE_CONNECTION:
            return "unavailable";
        case TRADE_RETCODE_TOO_MANY_REQUESTS:
            return "full";
        case TRADE_RETCODE_LIMIT_ORDERS:
        case TRADE_RETCODE_LIMIT_POSITIONS:
            return "too_many_open_orders";
        case TRADE_RETCODE_LIMIT_VOLUME:
            return "amount_too_large";
        // The position that it would make smaller is gone, or smaller, or only may be made smaller.
        case TRADE_RETCODE_POSITION_CLOSED:
        case TRADE_RETCODE_INVALID_CLOSE_VOLUME:
        case TRADE_RETCODE_CLOSE_ORDER_EXIST:
        case TRADE_RETCODE_CLOSE_ONLY:
        case TRADE_RETCODE_FIFO_CLOSE:
            return "reduce_only";
        case TRADE_RETCODE_REJECT:
        case TRADE_RETCODE_CANCEL:
        case TRADE_RETCODE_ERROR:
        case TRADE_RETCODE_INVALID:
        case TRADE_RETCODE_INVALID_STOPS:
        case TRADE_RETCODE_INVALID_EXPIRATION:
        case TRADE_RETCODE_ORDER_CHANGED:
        case TRADE_RETCODE_LOCKED:
        case TRADE_RETCODE_FROZEN:
        case TRADE_RETCODE_INVALID_FILL:
        case TRADE_RETCODE_ONLY_REAL:
        case TRADE_RETCODE_INVALID_ORDER:
        case TRADE_RETCODE_REJECT_CANCEL:
        case TRADE_RETCODE_LONG_ONLY:
        case TRADE_RETCODE_SHORT_ONLY:
        case TRADE_RETCODE_HEDGE_PROHIBITED:
            return "refused";
        default:
            return "refused";
    }
}

// Whether a return code leaves open what became of the request: then the terminal's lists are asked, not the code.
bool RetcodeIsDoubt(const uint retcode) {
    return retcode == TRADE_RETCODE_TIMEOUT || retcode == TRADE_RETCODE_CONNECTION;
}
