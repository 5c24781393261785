/* A client of tickring's binary TCP (docs/binary-tcp.md): connects, logs in, subscribes and prints what comes.
 *
 * cc -O2 -Wall -Wextra -o tcp_client tcp_client.c
 * ./tcp_client HOST PORT CLIENT_ID CLIENT_SECRET CHANNEL [EVENTS]
 *
 * As many events as asked for, else without end. It prints messages as they come and reads of them no more than it needs: take the JSON
 * parser that you have. Names and secrets are put into JSON as they are: they may have neither quotes nor backslashes. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOTICE "{\"jsonrpc\":\"2.0\",\"method\":"
#define CLOSE NOTICE "\"close\","

enum { FRAME_BYTES_MAX = 4 << 20 };
static char frame[FRAME_BYTES_MAX + 1];

static void die(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void send_all(int fd, const void *bytes, size_t len) {
    for (const char *at = bytes; len > 0;) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0) die("the gateway takes nothing more");
        at += sent, len -= (size_t)sent;
    }
}

static void read_all(int fd, char *bytes, size_t len) {
    for (; len > 0;) {
        ssize_t got = read(fd, bytes, len);
        if (got <= 0) die("the gateway has closed the connection");
        bytes += got, len -= (size_t)got;
    }
}

/* A frame: four bytes, the length of what follows, big-endian, then one message. Both in one send. */
static void send_frame(int fd, const char *message) {
    char bytes[4 + 4096];
    uint32_t len = (uint32_t)strlen(message), prefix = htonl(len);
    if (len > sizeof bytes - 4) die("a request is too long");
    memcpy(bytes, &prefix, 4);
    memcpy(bytes + 4, message, len);
    send_all(fd, bytes, 4 + len);
}

/* The next message, until the next call; heartbeats are answered on the way. */
static const char *read_frame(int fd) {
    for (;;) {
        uint32_t prefix;
        read_all(fd, (char *)&prefix, sizeof prefix);
        uint32_t len = ntohl(prefix);
        if (len > FRAME_BYTES_MAX) die("a frame is longer than is believed");
        read_all(fd, frame, len);
        frame[len] = '\0';
        if (len > 0) {
            if (strncmp(frame, CLOSE, sizeof CLOSE - 1) == 0) die(frame);
            return frame;
        }
        send_frame(fd, "");
    }
}

/* Sends a request and waits for its reply; events that come before it are printed. */
static void call(int fd, const char *request) {
    send_frame(fd, request);
    for (;;) {
        const char *message = read_frame(fd);
        int is_event = strncmp(message, NOTICE, sizeof NOTICE - 1) == 0;
        if (!is_event && strstr(message, "\"error\":{")) die(message);
        puts(message);
        if (!is_event) return;
    }
}

static int dial(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, port, &hints, &found) != 0) die("no such host");
    int fd = socket(found->ai_family, found->ai_socktype, found->ai_protocol), on = 1;
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) die("cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    freeaddrinfo(found);
    return fd;
}

int main(int count, char **words) {
    if (count != 6 && count != 7) die("usage: tcp_client HOST PORT CLIENT_ID CLIENT_SECRET CHANNEL [EVENTS]");
    char request[4096];
    int fd = dial(words[1], words[2]);
    snprintf(request, sizeof request,
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/auth\",\"params\":{\"grant_type\":\"client_credentials\","
             "\"client_id\":\"%s\",\"client_secret\":\"%s\"}}", words[3], words[4]);
    call(fd, request);
    snprintf(request, sizeof request,
             "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"public/subscribe\",\"params\":{\"channels\":[\"%s\"]}}", words[5]);
    call(fd, request);
    for (long left = count == 7 ? atol(words[6]) : -1; left != 0; left -= left > 0) {
        puts(read_frame(fd));
        fflush(stdout);
    }
    close(fd);
    return 0;
}
