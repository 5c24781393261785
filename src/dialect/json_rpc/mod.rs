//! JSON-RPC 2.0 in the shapes of Deribit's API v2. PURE.
