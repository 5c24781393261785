// Symbols, orders, deals, positions and trade requests as MQL5 has them, as far as the advisor uses them.

#pragma once

enum ENUM_SYMBOL_TRADE_EXECUTION {
    SYMBOL_TRADE_EXECUTION_REQUEST,
    SYMBOL_TRADE_EXECUTION_INSTANT,
    SYMBOL_TRADE_EXECUTION_MARKET,
    SYMBOL_TRADE_EXECUTION_EXCHANGE
};
enum ENUM_SYMBOL_INFO_INTEGER {
    SYMBOL_TRADE_EXEMODE,
    SYMBOL_FILLING_MODE,
    SYMBOL_TRADE_CALC_MODE,
    SYMBOL_TRADE_MODE,
    SYMBOL_EXPIRATION_MODE,
    SYMBOL_EXPIRATION_TIME,
    SYMBOL_TRADE_STOPS_LEVEL
};
enum ENUM_SYMBOL_INFO_DOUBLE {
    SYMBOL_POINT,
    SYMBOL_TRADE_TICK_SIZE,
    SYMBOL_TRADE_CONTRACT_SIZE,
    SYMBOL_VOLUME_MIN,
    SYMBOL_VOLUME_MAX,
    SYMBOL_VOLUME_STEP
};
enum ENUM_SYMBOL_INFO_STRING { SYMBOL_CURRENCY_BASE, SYMBOL_CURRENCY_PROFIT };
enum ENUM_DAY_OF_WEEK { SUNDAY, MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY };
enum ENUM_TERMINAL_INFO_INTEGER { TERMINAL_CONNECTED };
enum ENUM_ACCOUNT_INFO_INTEGER { ACCOUNT_MARGIN_MODE };

constexpr long SYMBOL_FILLING_FOK = 1, SYMBOL_FILLING_IOC = 2, SYMBOL_FILLING_BOC = 4;
constexpr long SYMBOL_EXPIRATION_GTC = 1;
constexpr long SYMBOL_TRADE_MODE_DISABLED = 0, SYMBOL_TRADE_MODE_FULL = 4;
constexpr long SYMBOL_CALC_MODE_FOREX = 0, SYMBOL_CALC_MODE_FUTURES = 1, SYMBOL_CALC_MODE_EXCH_FUTURES = 33,
               SYMBOL_CALC_MODE_EXCH_FUTURES_FORTS = 34;
constexpr long ACCOUNT_MARGIN_MODE_RETAIL_NETTING = 0, ACCOUNT_MARGIN_MODE_RETAIL_HEDGING = 2;
constexpr uint COPY_TICKS_ALL = 0xFFFFFFFF;
constexpr uint TICK_FLAG_BID = 2, TICK_FLAG_ASK = 4, TICK_FLAG_LAST = 8, TICK_FLAG_VOLUME = 16, TICK_FLAG_BUY = 32,
               TICK_FLAG_SELL = 64;

enum ENUM_TRADE_REQUEST_ACTIONS {
    TRADE_ACTION_DEAL = 1,
    TRADE_ACTION_PENDING = 5,
    TRADE_ACTION_MODIFY = 7,
    TRADE_ACTION_REMOVE = 8
};
enum ENUM_ORDER_TYPE { ORDER_TYPE_BUY, ORDER_TYPE_SELL, ORDER_TYPE_BUY_LIMIT, ORDER_TYPE_SELL_LIMIT };
enum ENUM_ORDER_TYPE_FILLING { ORDER_FILLING_FOK, ORDER_FILLING_IOC, ORDER_FILLING_RETURN, ORDER_FILLING_BOC };
enum ENUM_ORDER_TYPE_TIME { ORDER_TIME_GTC, ORDER_TIME_DAY };
enum ENUM_ORDER_STATE {
    ORDER_STATE_STARTED,
    ORDER_STATE_PLACED,
    ORDER_STATE_CANCELED,
    ORDER_STATE_PARTIAL,
    ORDER_STATE_FILLED,
    ORDER_STATE_REJECTED,
    ORDER_STATE_EXPIRED,
    ORDER_STATE_REQUEST_ADD
};
enum ENUM_POSITION_TYPE { POSITION_TYPE_BUY, POSITION_TYPE_SELL };
enum ENUM_TRADE_TRANSACTION_TYPE {
    TRADE_TRANSACTION_ORDER_ADD,
    TRADE_TRANSACTION_ORDER_UPDATE,
    TRADE_TRANSACTION_ORDER_DELETE,
    TRADE_TRANSACTION_DEAL_ADD,
    TRADE_TRANSACTION_HISTORY_ADD,
    TRADE_TRANSACTION_REQUEST
};
enum ENUM_ORDER_PROPERTY_INTEGER { ORDER_TYPE, ORDER_STATE, ORDER_MAGIC, ORDER_TIME_SETUP };
enum ENUM_ORDER_PROPERTY_DOUBLE { ORDER_VOLUME_INITIAL, ORDER_VOLUME_CURRENT, ORDER_PRICE_OPEN };
enum ENUM_ORDER_PROPERTY_STRING { ORDER_SYMBOL };
enum ENUM_DEAL_PROPERTY_INTEGER { DEAL_ORDER, DEAL_TIME_MSC };
enum ENUM_DEAL_PROPERTY_DOUBLE { DEAL_PRICE, DEAL_VOLUME };
enum ENUM_POSITION_PROPERTY_INTEGER { POSITION_TYPE, POSITION_MAGIC };
enum ENUM_POSITION_PROPERTY_DOUBLE { POSITION_VOLUME };
enum ENUM_POSITION_PROPERTY_STRING { POSITION_SYMBOL };

enum ENUM_TRADE_RETCODE : uint {
    TRADE_RETCODE_REQUOTE = 10004,
    TRADE_RETCODE_REJECT = 10006,
    TRADE_RETCODE_CANCEL = 10007,
    TRADE_RETCODE_PLACED = 10008,
    TRADE_RETCODE_DONE = 10009,
    TRADE_RETCODE_DONE_PARTIAL = 10010,
    TRADE_RETCODE_ERROR = 10011,
    TRADE_RETCODE_TIMEOUT = 10012,
    TRADE_RETCODE_INVALID = 10013,
    TRADE_RETCODE_INVALID_VOLUME = 10014,
    TRADE_RETCODE_INVALID_PRICE = 10015,
    TRADE_RETCODE_INVALID_STOPS = 10016,
    TRADE_RETCODE_TRADE_DISABLED = 10017,
    TRADE_RETCODE_MARKET_CLOSED = 10018,
    TRADE_RETCODE_NO_MONEY = 10019,
    TRADE_RETCODE_PRICE_CHANGED = 10020,
    TRADE_RETCODE_PRICE_OFF = 10021,
    TRADE_RETCODE_INVALID_EXPIRATION = 10022,
    TRADE_RETCODE_ORDER_CHANGED = 10023,
    TRADE_RETCODE_TOO_MANY_REQUESTS = 10024,
    TRADE_RETCODE_NO_CHANGES = 10025,
    TRADE_RETCODE_SERVER_DISABLES_AT = 10026,
    TRADE_RETCODE_CLIENT_DISABLES_AT = 10027,
    TRADE_RETCODE_LOCKED = 10028,
    TRADE_RETCODE_FROZEN = 10029,
    TRADE_RETCODE_INVALID_FILL = 10030,
    TRADE_RETCODE_CONNECTION = 10031,
    TRADE_RETCODE_ONLY_REAL = 10032,
    TRADE_RETCODE_LIMIT_ORDERS = 10033,
    TRADE_RETCODE_LIMIT_VOLUME = 10034,
    TRADE_RETCODE_INVALID_ORDER = 10035,
    TRADE_RETCODE_POSITION_CLOSED = 10036,
    TRADE_RETCODE_INVALID_CLOSE_VOLUME = 10038,
    TRADE_RETCODE_CLOSE_ORDER_EXIST = 10039,
    TRADE_RETCODE_LIMIT_POSITIONS = 10040,
    TRADE_RETCODE_REJECT_CANCEL = 10041,
    TRADE_RETCODE_LONG_ONLY = 10042,
    TRADE_RETCODE_SHORT_ONLY = 10043,
    TRADE_RETCODE_CLOSE_ONLY = 10044,
    TRADE_RETCODE_FIFO_CLOSE = 10045,
    TRADE_RETCODE_HEDGE_PROHIBITED = 10046
};

struct MqlTick {
    datetime time;
    double bid;
    double ask;
    double last;
    ulong volume;
    long time_msc;
    uint flags;
    double volume_real;
};

struct MqlTradeRequest {
    ENUM_TRADE_REQUEST_ACTIONS action;
    ulong magic;
    ulong order;
    string symbol;
    double volume;
    double price;
    double stoplimit;
    double sl;
    double tp;
    ulong deviation;
    ENUM_ORDER_TYPE type;
    ENUM_ORDER_TYPE_FILLING type_filling;
    ENUM_ORDER_TYPE_TIME type_time;
    datetime expiration;
    string comment;
    ulong position;
    ulong position_by;
};

struct MqlTradeResult {
    uint retcode;
    ulong deal;
    ulong order;
    double volume;
    double price;
    double bid;
    double ask;
    string comment;
    uint request_id;
    int retcode_external;
};

struct MqlTradeTransaction {
    ulong deal;
    ulong order;
    string symbol;
    ENUM_TRADE_TRANSACTION_TYPE type;
};

string Symbol();
bool SymbolSelect(const string &symbol, bool select);
long SymbolInfoInteger(const string &symbol, ENUM_SYMBOL_INFO_INTEGER property);
double SymbolInfoDouble(const string &symbol, ENUM_SYMBOL_INFO_DOUBLE property);
string SymbolInfoString(const string &symbol, ENUM_SYMBOL_INFO_STRING property);
bool SymbolInfoTick(const string &symbol, MqlTick &tick);
bool SymbolInfoSessionTrade(const string &symbol, ENUM_DAY_OF_WEEK day, uint session, datetime &from, datetime &to);
int CopyTicks(const string &symbol, Array<MqlTick> &ticks, uint flags, ulong from, uint count);
long TerminalInfoInteger(ENUM_TERMINAL_INFO_INTEGER property);
long AccountInfoInteger(ENUM_ACCOUNT_INFO_INTEGER property);

bool OrderSendAsync(const MqlTradeRequest &request, MqlTradeResult &result);
int OrdersTotal();
ulong OrderGetTicket(int at);
bool OrderSelect(ulong ticket);
long OrderGetInteger(ENUM_ORDER_PROPERTY_INTEGER property);
double OrderGetDouble(ENUM_ORDER_PROPERTY_DOUBLE property);
string OrderGetString(ENUM_ORDER_PROPERTY_STRING property);
bool HistorySelect(datetime from, datetime to);
bool HistoryOrderSelect(ulong ticket);
int HistoryOrdersTotal();
ulong HistoryOrderGetTicket(int at);
long HistoryOrderGetInteger(ulong ticket, ENUM_ORDER_PROPERTY_INTEGER property);
double HistoryOrderGetDouble(ulong ticket, ENUM_ORDER_PROPERTY_DOUBLE property);
string HistoryOrderGetString(ulong ticket, ENUM_ORDER_PROPERTY_STRING property);
int HistoryDealsTotal();
ulong HistoryDealGetTicket(int at);
long HistoryDealGetInteger(ulong ticket, ENUM_DEAL_PROPERTY_INTEGER property);
double HistoryDealGetDouble(ulong ticket, ENUM_DEAL_PROPERTY_DOUBLE property);
int PositionsTotal();
ulong PositionGetTicket(int at);
long PositionGetInteger(ENUM_POSITION_PROPERTY_INTEGER property);
double PositionGetDouble(ENUM_POSITION_PROPERTY_DOUBLE property);
string PositionGetString(ENUM_POSITION_PROPERTY_STRING property);
