// A stand-in for the part of MQL5 that the advisor uses, for a C++ compiler: types, constants, functions.
// What the functions do is in api.cpp and sockets.cpp; the terminal behind them is simulated in terminal.cpp.
// Numbers of constants are MetaQuotes' where they go over the wire of a terminal (return codes, error codes), else any.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;
using datetime = long;

// A text: bytes of UTF-8 here, UTF-16 in a terminal. The advisor looks at single characters of ASCII only.
class string {
public:
    string() = default;
    string(const char *text) : bytes(text) {}
    string(std::string text) : bytes(std::move(text)) {}
    string &operator+=(const string &more) {
        bytes += more.bytes;
        return *this;
    }
    friend string operator+(const string &left, const string &right) { return left.bytes + right.bytes; }
    friend bool operator==(const string &left, const string &right) { return left.bytes == right.bytes; }
    friend bool operator!=(const string &left, const string &right) { return left.bytes != right.bytes; }
    friend std::ostream &operator<<(std::ostream &out, const string &text) { return out << text.bytes; }
    std::string bytes;
};

// A dynamic array. A place that it does not have ends the program, as in a terminal.
template <typename T> class Array {
public:
    T &operator[](const long at) { return items[check(at)]; }
    const T &operator[](const long at) const { return items[check(at)]; }
    std::vector<T> items;

private:
    size_t check(const long at) const {
        if(at < 0 || static_cast<size_t>(at) >= items.size()) {
            std::cerr << "array out of range: " << at << " of " << items.size() << std::endl;
            std::abort();
        }
        return static_cast<size_t>(at);
    }
};

#define ARRAY(type, name) Array<type> name
#define ARRAY_REF(type, name) Array<type> &name
#define ARRAY_IN(type, name) const Array<type> &name
#define input

constexpr int INVALID_HANDLE = -1;
constexpr int WHOLE_ARRAY = -1;
constexpr uint CP_UTF8 = 65001;
constexpr int ERR_NETSOCKET_IO_ERROR = 5273;
constexpr int ERR_NETSOCKET_CANNOT_CONNECT = 5272;

enum ENUM_INIT_RETCODE { INIT_SUCCEEDED = 0, INIT_FAILED = 1, INIT_PARAMETERS_INCORRECT = 32767 };

// --- arrays and texts

template <typename T> int ArraySize(const Array<T> &array) { return static_cast<int>(array.items.size()); }

template <typename T> int ArrayResize(Array<T> &array, const int size, const int reserve = 0) {
    if(static_cast<size_t>(size) > array.items.capacity())
        array.items.reserve(static_cast<size_t>(size + reserve));
    array.items.resize(static_cast<size_t>(size));
    return size;
}

template <typename T> void ArrayFree(Array<T> &array) { array.items.clear(); }

template <typename T>
int ArrayCopy(Array<T> &to, const Array<T> &from, const int toStart, const int fromStart, const int count) {
    if(ArraySize(to) < toStart + count)
        ArrayResize(to, toStart + count);
    for(int i = 0; i < count; i++)
        to[toStart + i] = from[fromStart + i];
    return count;
}

template <typename T> bool ArrayRemove(Array<T> &array, const uint start, const uint count) {
    array.items.erase(array.items.begin() + start, array.items.begin() + start + count);
    return true;
}

int StringLen(const string &text);
ushort StringGetCharacter(const string &text, int at);
bool StringSetCharacter(string &text, int at, ushort character);
string StringSubstr(const string &text, int start, int length);
int StringReplace(string &text, const string &find, const string &with);
int StringSplit(const string &text, ushort separator, Array<string> &parts);
int StringTrimLeft(string &text);
int StringTrimRight(string &text);
long StringToInteger(const string &text);
double StringToDouble(const string &text);
int StringToCharArray(const string &text, Array<uchar> &bytes, int start, int count, uint codepage);
string CharArrayToString(const Array<uchar> &bytes, int start, int count, uint codepage);
string IntegerToString(long number);
string DoubleToString(double number, int digits);

template <typename... Parts> void Print(const Parts &...parts) {
    std::ostringstream line;
    (line << ... << parts);
    std::cout << line.str() << std::endl;
}

// --- numbers and time

double MathAbs(double number);
double MathRound(double number);
double MathFloor(double number);
double MathCeil(double number);
template <typename T> T MathMax(const T left, const T right) { return left > right ? left : right; }
template <typename T> T MathMin(const T left, const T right) { return left < right ? left : right; }
double NormalizeDouble(double number, int digits);
void MathSrand(int seed);
int MathRand();

struct MqlDateTime {
    int year, mon, day, hour, min, sec, day_of_week, day_of_year;
};

uint GetTickCount();
ulong GetTickCount64();
ulong GetMicrosecondCount();
datetime TimeGMT();
datetime TimeTradeServer();
bool TimeToStruct(datetime time, MqlDateTime &parts);
int GetLastError();
void ResetLastError();
bool EventSetMillisecondTimer(int ms);
void EventKillTimer();

// --- sockets

int SocketCreate();
bool SocketConnect(int socket, const string &server, uint port, uint timeoutMs);
bool SocketTimeouts(int socket, uint sendMs, uint receiveMs);
bool SocketIsConnected(int socket);
uint SocketIsReadable(int socket);
bool SocketIsWritable(int socket);
int SocketRead(int socket, Array<uchar> &buffer, uint maxLength, uint timeoutMs);
int SocketSend(int socket, const Array<uchar> &buffer, uint length);
bool SocketClose(int socket);

#include "mql5_trade.hpp"
