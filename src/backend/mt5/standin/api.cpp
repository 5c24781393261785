// MQL5's functions for texts, numbers and time.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "mql5.hpp"
#include "terminal.hpp"

int StringLen(const string &text) { return static_cast<int>(text.bytes.size()); }

ushort StringGetCharacter(const string &text, const int at) {
    return at >= 0 && at < StringLen(text) ? static_cast<uchar>(text.bytes[static_cast<size_t>(at)]) : 0;
}

bool StringSetCharacter(string &text, const int at, const ushort character) {
    if(at < 0 || at >= StringLen(text))
        return false;
    text.bytes[static_cast<size_t>(at)] = static_cast<char>(character);
    return true;
}

string StringSubstr(const string &text, const int start, const int length) {
    return text.bytes.substr(static_cast<size_t>(start), static_cast<size_t>(length));
}

int StringReplace(string &text, const string &find, const string &with) {
    int count = 0;
    for(size_t at = 0; (at = text.bytes.find(find.bytes, at)) != std::string::npos; at += with.bytes.size()) {
        text.bytes.replace(at, find.bytes.size(), with.bytes);
        count++;
    }
    return count;
}

int StringSplit(const string &text, const ushort separator, Array<string> &parts) {
    std::istringstream rest(text.bytes);
    parts.items.clear();
    for(std::string part; std::getline(rest, part, static_cast<char>(separator));)
        parts.items.emplace_back(part);
    return ArraySize(parts);
}

int StringTrimLeft(string &text) {
    const size_t blanks = std::min(text.bytes.find_first_not_of(" \t\r\n"), text.bytes.size());
    text.bytes.erase(0, blanks);
    return static_cast<int>(blanks);
}

int StringTrimRight(string &text) {
    const size_t size = text.bytes.size();
    text.bytes.erase(text.bytes.find_last_not_of(" \t\r\n") + 1);
    return static_cast<int>(size - text.bytes.size());
}

long StringToInteger(const string &text) { return std::strtol(text.bytes.c_str(), nullptr, 10); }
double StringToDouble(const string &text) { return std::strtod(text.bytes.c_str(), nullptr); }

// As a terminal does: the zero behind the text is copied and counted.
int StringToCharArray(const string &text, Array<uchar> &bytes, const int start, const int count, const uint codepage) {
    if(count != WHOLE_ARRAY || codepage != CP_UTF8)
        std::abort();
    const int size = StringLen(text) + 1;
    if(ArraySize(bytes) < start + size)
        ArrayResize(bytes, start + size);
    for(int i = 0; i < size; i++)
        bytes[start + i] = static_cast<uchar>(StringGetCharacter(text, i));
    return size;
}

string CharArrayToString(const Array<uchar> &bytes, const int start, const int count, const uint codepage) {
    if(codepage != CP_UTF8)
        std::abort();
    std::string text;
    for(int i = start; i < start + count && bytes[i] != 0; i++)
        text.push_back(static_cast<char>(bytes[i]));
    return text;
}

string IntegerToString(const long number) { return std::to_string(number); }

string DoubleToString(const double number, const int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, number);
    return string(text);
}

double MathAbs(const double number) { return std::fabs(number); }
double MathRound(const double number) { return std::round(number); }
double MathFloor(const double number) { return std::floor(number); }
double MathCeil(const double number) { return std::ceil(number); }

double NormalizeDouble(const double number, const int digits) {
    const double scale = std::pow(10.0, digits);
    return std::round(number * scale) / scale;
}

void MathSrand(const int seed) { std::srand(static_cast<uint>(seed)); }
int MathRand() { return std::rand() % 32768; }

ulong GetMicrosecondCount() {
    const auto since = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<ulong>(std::chrono::duration_cast<std::chrono::microseconds>(since).count());
}

ulong GetTickCount64() { return GetMicrosecondCount() / 1000; }
uint GetTickCount() { return static_cast<uint>(GetTickCount64()); }

datetime TimeGMT() { return std::time(nullptr); }
datetime TimeTradeServer() { return TimeGMT() + Terminal::zoneSeconds; }

bool TimeToStruct(const datetime time, MqlDateTime &parts) {
    std::tm told;
    gmtime_r(&time, &told);
    parts = {told.tm_year + 1900, told.tm_mon + 1, told.tm_mday, told.tm_hour,
             told.tm_min,         told.tm_sec,     told.tm_wday, told.tm_yday};
    return true;
}

bool EventSetMillisecondTimer(const int ms) {
    terminal.timerMs = ms;
    return true;
}

void EventKillTimer() { terminal.timerMs = 0; }
