// The advisor as it is, in a class: its functions see each other wherever they stand, as in MQL5, and a new object of it is an
// advisor that remembers nothing.

#pragma once

#include "mql5.hpp"

struct Advisor {
#include "../tickring.mq5"
};
