//! HTTP/1.1 requests on the client port.
