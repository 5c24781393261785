/* A client of tickring's market data in SBE (docs/sbe.md): subscribes to a quote or a book and prints the best prices after each message.
 *
 * c++ -std=c++17 -O2 -Wall -Wextra -o sbe_client sbe_client.cpp
 * ./sbe_client HOST PORT INSTRUMENT quote|book [MESSAGES]
 *
 * For little-endian machines, as SBE is. As many messages as asked for, else without end. */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

[[noreturn]] static void die(const std::string &why) {
    fprintf(stderr, "%s\n", why.c_str());
    exit(1);
}

/* The value at an offset of a message; a message that is too short ends the client. */
template <typename T> static T at(const std::string &message, size_t offset) {
    T value;
    if (offset > message.size() || message.size() - offset < sizeof value) die("a message is cut off");
    memcpy(&value, message.data() + offset, sizeof value);
    return value;
}

/* A WebSocket: text for control, binary for data. */
struct Gateway {
    int fd = -1;

    void send_all(const std::string &bytes) {
        for (size_t sent = 0; sent < bytes.size();) {
            ssize_t count = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
            if (count <= 0) die("the gateway takes nothing more");
            sent += static_cast<size_t>(count);
        }
    }

    std::string take(size_t count) {
        std::string bytes(count, '\0');
        for (size_t got = 0; got < count;) {
            ssize_t more = read(fd, &bytes[got], count - got);
            if (more <= 0) die("the gateway has closed the connection");
            got += static_cast<size_t>(more);
        }
        return bytes;
    }

    /* One masked frame of less than 64 KiB. The mask hides nothing; zeros will do outside of a browser. */
    void send_frame(int opcode, const std::string &payload) {
        std::string frame(1, static_cast<char>(0x80 | opcode));
        if (payload.size() < 126) {
            frame += static_cast<char>(0x80 | payload.size());
        } else {
            frame += static_cast<char>(0x80 | 126);
            frame += static_cast<char>(payload.size() >> 8), frame += static_cast<char>(payload.size() & 255);
        }
        send_all(frame + std::string(4, '\0') + payload);
    }

    /* The next message and its opcode, 1 of text and 2 of binary. Pings are answered on the way. */
    int receive(std::string &payload) {
        for (;;) {
            std::string head = take(2);
            int opcode = head[0] & 15;
            uint64_t size = static_cast<uint8_t>(head[1]);
            if (size >= 126) {
                std::string longer = take(size == 126 ? 2 : 8);
                size = 0;
                for (unsigned char byte : longer) size = size << 8 | byte;
            }
            if (size > 64u << 20) die("a frame is longer than is believed");
            payload = take(size);
            if (opcode == 8) die("the gateway closes: " + (payload.size() > 2 ? payload.substr(2) : "no reason"));
            if (opcode == 9) send_frame(10, payload);
            if (opcode == 1 || opcode == 2) return opcode;
        }
    }

    void connect_to(const char *host, const char *port) {
        addrinfo hints{}, *found;
        hints.ai_socktype = SOCK_STREAM;
        if (getaddrinfo(host, port, &hints, &found) != 0) die("no such host");
        int on = 1;
        fd = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
        if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) die("cannot connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        freeaddrinfo(found);
        send_all("GET /ws?encoding=sbe&schema=1&version=0 HTTP/1.1\r\nHost: " + std::string(host) + ":" + port +
                 "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        std::string answer;
        while (answer.size() < 4 || answer.compare(answer.size() - 4, 4, "\r\n\r\n") != 0) answer += take(1);
        if (answer.compare(0, 12, "HTTP/1.1 101") != 0) die("no upgrade: " + answer.substr(0, answer.find('\r')));
    }
};

static std::string decimal(int64_t units) {
    char text[40];
    snprintf(text, sizeof text, "%s%lld.%09lld", units < 0 ? "-" : "", std::llabs(units / 1000000000LL),
             std::llabs(units % 1000000000LL));
    std::string out = text;
    out.erase(out.find_last_not_of('0') + 1);
    return out.back() == '.' ? out.substr(0, out.size() - 1) : out;
}

/* The best prices of an instrument, from its quotes or its book: amounts by price, all in units of 1e-9. */
struct Market {
    enum { HEADER = 8, QUOTE = 11, SNAPSHOT = 13, DELTA = 14 };
    std::map<int64_t, int64_t> bids, asks;
    uint64_t change_id = 0;

    /* Reads a group at an offset and says where it ends. An entry may be longer than is known here. */
    static size_t take_group(const std::string &message, size_t offset, std::map<int64_t, int64_t> &side) {
        auto size = at<uint16_t>(message, offset);
        auto count = at<uint32_t>(message, offset + 2);
        for (offset += 6; count > 0; count--, offset += size) {
            auto price = at<int64_t>(message, offset), amount = at<int64_t>(message, offset + 8);
            if (amount == 0) side.erase(price); else side[price] = amount;
        }
        return offset;
    }

    /* Whether the message is one of these; others are passed over. */
    bool handle(const std::string &message) {
        auto block = at<uint16_t>(message, 0), kind = at<uint16_t>(message, 2);
        if (at<uint16_t>(message, 4) != 1 || (kind != QUOTE && kind != SNAPSHOT && kind != DELTA)) return false;
        if (kind != DELTA) bids.clear(), asks.clear();
        if (kind == QUOTE) {
            auto bid = at<int64_t>(message, HEADER + 36), ask = at<int64_t>(message, HEADER + 52);
            if (bid != INT64_MIN) bids[bid] = at<int64_t>(message, HEADER + 44);
            if (ask != INT64_MIN) asks[ask] = at<int64_t>(message, HEADER + 60);
            return true;
        }
        if (kind == DELTA && at<uint64_t>(message, HEADER + 40) != change_id) die("a change of the book is missing");
        change_id = at<uint64_t>(message, HEADER + 32);
        take_group(message, take_group(message, HEADER + block, bids), asks);
        return true;
    }

    void print() const {
        std::string bid = bids.empty() ? "- x -" : decimal(bids.rbegin()->first) + " x " + decimal(bids.rbegin()->second);
        std::string ask = asks.empty() ? "- x -" : decimal(asks.begin()->first) + " x " + decimal(asks.begin()->second);
        printf("%s | %s\n", bid.c_str(), ask.c_str());
        fflush(stdout);
    }
};

int main(int count, char **words) {
    if (count != 5 && count != 6) die("usage: sbe_client HOST PORT INSTRUMENT quote|book [MESSAGES]");
    Gateway gateway;
    Market market;
    std::string payload, name = words[3];
    gateway.connect_to(words[1], words[2]);
    std::string channel = strcmp(words[4], "book") == 0 ? "book." + name + ".raw" : "quote." + name;
    gateway.send_frame(1, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/subscribe\",\"params\":{\"channels\":[\"" + channel + "\"]}}");
    while (gateway.receive(payload) != 1) {}
    if (payload.find("\"result\":[\"" + channel) == std::string::npos) die("not subscribed: " + payload);
    for (long left = count == 6 ? atol(words[5]) : -1; left != 0;) {
        if (gateway.receive(payload) == 2 && market.handle(payload)) market.print(), left -= left > 0;
    }
    close(gateway.fd);
    return 0;
}
