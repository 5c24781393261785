// MQL5's sockets, over real ones. As a terminal: SocketIsReadable says 1 now and then where nothing is there, SocketRead waits
// for all that it is asked for and says -1 where nothing came, SocketSend takes a part now and then.

#include <netdb.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "mql5.hpp"
#include "terminal.hpp"

namespace {

struct Socket {
    int descriptor = -1;
    bool isConnected = false;
    uint probes = 0;
    uint sends = 0;
};

std::map<int, Socket> sockets;
int socketNext = 1;
int lastError = 0;

// One that is not there is not connected.
Socket &at(const int handle) {
    static Socket none;
    const auto found = sockets.find(handle);
    return found == sockets.end() ? (none = Socket{}) : found->second;
}

bool waits(const Socket &socket, const short event, const uint timeoutMs) {
    pollfd polled = {socket.descriptor, event, 0};
    return poll(&polled, 1, static_cast<int>(timeoutMs)) > 0;
}

int broken(Socket &socket) {
    socket.isConnected = false;
    lastError = ERR_NETSOCKET_IO_ERROR;
    return -1;
}

} // namespace

int GetLastError() { return lastError; }
void ResetLastError() { lastError = 0; }

int SocketCreate() {
    sockets[socketNext] = Socket{};
    return socketNext++;
}

bool SocketConnect(const int handle, const string &server, const uint port, const uint) {
    addrinfo hints = {};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo *found = nullptr;
    Socket &socket = at(handle);
    const std::string service = std::to_string(port);
    if(getaddrinfo(server.bytes.c_str(), service.c_str(), &hints, &found) == 0) {
        socket.descriptor = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socket.isConnected = connect(socket.descriptor, found->ai_addr, found->ai_addrlen) == 0;
        freeaddrinfo(found);
    }
    if(!socket.isConnected)
        lastError = ERR_NETSOCKET_CANNOT_CONNECT;
    return socket.isConnected;
}

bool SocketTimeouts(const int handle, const uint, const uint) { return sockets.count(handle) == 1; }
bool SocketIsConnected(const int handle) { return at(handle).isConnected; }
bool SocketIsWritable(const int handle) { return waits(at(handle), POLLOUT, 0); }

uint SocketIsReadable(const int handle) {
    Socket &socket = at(handle);
    int size = 0;
    ioctl(socket.descriptor, FIONREAD, &size);
    if(size == 0 && socket.isConnected && socket.probes++ % 2 == 0)
        return 1;
    return static_cast<uint>(size);
}

int SocketRead(const int handle, Array<uchar> &buffer, const uint maxLength, const uint timeoutMs) {
    Socket &socket = at(handle);
    // What a terminal makes of 0 would stop a turn for two minutes.
    if(timeoutMs == 0 || maxLength == 0)
        std::abort();
    const int before = ArraySize(buffer);
    int got = 0;
    while(static_cast<uint>(got) < maxLength && waits(socket, POLLIN, timeoutMs)) {
        ArrayResize(buffer, before + static_cast<int>(maxLength));
        const ssize_t size = recv(socket.descriptor, &buffer[before + got], maxLength - static_cast<uint>(got), 0);
        if(size <= 0) {
            ArrayResize(buffer, before + got);
            return got > 0 ? got : broken(socket);
        }
        got += static_cast<int>(size);
    }
    ArrayResize(buffer, before + got);
    return got > 0 ? got : -1;
}

int SocketSend(const int handle, const Array<uchar> &buffer, const uint length) {
    Socket &socket = at(handle);
    uint size = length;
    if(++socket.sends % 3 == 0 && size > 1)
        size /= 2;
    const ssize_t sent = send(socket.descriptor, buffer.items.data(), size, MSG_NOSIGNAL);
    if(sent < 0)
        return broken(socket);
    return static_cast<int>(sent);
}

bool SocketClose(const int handle) {
    const auto found = sockets.find(handle);
    if(found == sockets.end())
        return false;
    if(found->second.descriptor >= 0)
        close(found->second.descriptor);
    sockets.erase(found);
    return true;
}

// A terminal closes what an advisor that is gone has left open.
void Terminal::closeSockets() {
    while(!sockets.empty())
        SocketClose(sockets.begin()->first);
}
