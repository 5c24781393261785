//! `GET /debug/pprof/profile`. Home: the control thread, which waits for the profile's.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use crate::api::profiles::{self, Asked, Written};
use crate::api::{Answer, shards};

use super::Shared;

const FILE: HeaderValue = HeaderValue::from_static("attachment; filename=\"tickring.pb.gz\"");

impl Shared {
    /// Whoever goes away before the end ends the profile: what is dropped with the request does that.
    pub(super) async fn profile(&self, asked: &HeaderMap, query: &str) -> Response {
        match self.written_profile(query).await {
            Ok(Written::Text(answer)) => self.finish(asked, answer),
            Ok(Written::Picture(answer, policy)) => {
                let mut response = self.finish(asked, answer);
                // Letters of base64 at most.
                if let Ok(policy) = HeaderValue::from_str(&policy) {
                    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
                }
                response
            }
            Ok(Written::File(bytes)) => {
                let mut response = self.finish(asked, Answer::text(200, "application/octet-stream", ""));
                *response.body_mut() = Body::from(bytes);
                response.headers_mut().insert(header::CONTENT_DISPOSITION, FILE);
                response
            }
            Err(refusal) => self.finish(asked, refusal),
        }
    }

    async fn written_profile(&self, query: &str) -> Result<Written, Answer> {
        if !self.source.bounds.load().may_debug {
            return Err(shards::turned_off());
        }
        let asked = Asked::read(query)?;
        let running = self.profiler.start(asked).map_err(|refusal| profiles::refused(&refusal))?;
        log::info!("a profile of {} s at {} Hz is taken", asked.seconds, asked.hz);
        running.written().await.map_err(|refusal| profiles::refused(&refusal))
    }
}
