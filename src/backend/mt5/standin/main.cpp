// Runs the advisor in the simulated terminal: timer, ticks and transactions, until SIGTERM. SIGUSR1 kills the advisor, without
// OnDeinit, and starts another. Lines on stdin control the terminal; README.md lists them.

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <utility>

#include "advisor.hpp"
#include "terminal.hpp"

namespace {

volatile std::sig_atomic_t isStopped = 0;
volatile std::sig_atomic_t isKilled = 0;

std::vector<std::pair<std::string, std::string>> flags;

void configure(Advisor &advisor) {
    const std::vector<std::pair<std::string, string *>> texts = {{"--host", &advisor.InpHost},
                                                                 {"--venue", &advisor.InpVenue},
                                                                 {"--key", &advisor.InpKey},
                                                                 {"--symbols", &advisor.InpSymbols}};
    const std::vector<std::pair<std::string, int *>> numbers = {
        {"--port", &advisor.InpPort},           {"--magic", &advisor.InpMagic},    {"--heartbeat-ms", &advisor.InpHeartbeatMs},
        {"--timer-ms", &advisor.InpTimerMs},    {"--retry-ms", &advisor.InpRetryMs}, {"--settle-ms", &advisor.InpSettleMs},
        {"--deviation", &advisor.InpDeviation}};
    const std::vector<std::pair<std::string, bool *>> switches = {{"--keep-orphans", &advisor.InpKeepOrphans},
                                                                  {"--lose-limits", &advisor.InpLoseLimits}};
    for(const auto &[flag, value] : flags) {
        bool isKnown = flag == "--walk" || flag == "--hedging";
        const auto set = [&](const auto &list, const auto &take) {
            for(const auto &[name, place] : list)
                if(name == flag) {
                    take(*place);
                    isKnown = true;
                }
        };
        set(texts, [&](string &place) { place = value; });
        set(numbers, [&](int &place) { place = std::stoi(value); });
        set(switches, [&](bool &place) { place = value == "1"; });
        if(!isKnown) {
            std::cerr << "unknown flag " << flag << std::endl;
            std::exit(64);
        }
    }
}

std::unique_ptr<Advisor> start() {
    auto advisor = std::make_unique<Advisor>();
    configure(*advisor);
    const int code = advisor->OnInit();
    if(code != INIT_SUCCEEDED) {
        std::cout << "terminal: OnInit says " << code << std::endl;
        std::exit(1);
    }
    return advisor;
}

// The lines that have come on stdin.
void listen() {
    static std::string rest;
    pollfd polled = {STDIN_FILENO, POLLIN, 0};
    if(::poll(&polled, 1, 0) <= 0)
        return;
    char bytes[4096];
    const ssize_t size = read(STDIN_FILENO, bytes, sizeof bytes);
    if(size > 0)
        rest.append(bytes, static_cast<size_t>(size));
    for(size_t end; (end = rest.find('\n')) != std::string::npos; rest.erase(0, end + 1))
        terminal.control(rest.substr(0, end));
}

void turn(Advisor &advisor) {
    terminal.turn();
    for(SimTransaction next; terminal.poll(next);)
        advisor.OnTradeTransaction(next.trans, next.request, next.result);
    if(std::exchange(terminal.hasTicked, false))
        advisor.OnTick();
    advisor.OnTimer();
}

} // namespace

int main(const int count, char **arguments) {
    for(int i = 1; i + 1 < count; i += 2)
        flags.emplace_back(arguments[i], arguments[i + 1]);
    for(const auto &[flag, value] : flags) {
        if(flag == "--walk") {
            terminal.random = std::stoul(value) * 2 + 1;
            terminal.isWalking = true;
        }
        if(flag == "--hedging")
            terminal.isHedging = value == "1";
    }
    std::signal(SIGTERM, [](int) { isStopped = 1; });
    std::signal(SIGUSR1, [](int) { isKilled = 1; });
    std::signal(SIGPIPE, SIG_IGN);
    std::unique_ptr<Advisor> advisor = start();
    while(!isStopped) {
        if(isKilled) {
            isKilled = 0;
            advisor.reset();
            Terminal::closeSockets();
            std::cout << "terminal: the advisor is killed" << std::endl;
            advisor = start();
        }
        listen();
        turn(*advisor);
        usleep(static_cast<useconds_t>(terminal.timerMs) * 1000);
    }
    advisor->OnDeinit(1);
    return 0;
}
