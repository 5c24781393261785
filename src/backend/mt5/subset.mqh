// What makes this MQL5 C++ as well: dynamic arrays are written by these macros. The stand-in has its own (standin/mql5.hpp).
// README.md lists the constructs of MQL5 that are not used.

#ifdef __MQL5__
#define ARRAY(type, name) type name[]
#define ARRAY_REF(type, name) type &name[]
#define ARRAY_IN(type, name) const type &name[]
#endif
