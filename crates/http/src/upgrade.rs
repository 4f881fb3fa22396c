//! Connections that change their protocol, as WebSockets do (RFC 9110, section 7.8): the request and its answer are HTTP,
//! and then bytes go both ways until one end closes.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_io_timeout::TimeoutReader;

/// The one protocol that is passed on: of others, as of HTTP/2 itself, requests could follow that nobody looks at.
const WEBSOCKET: &str = "websocket";

/// The protocol that a message asks for, or begins, where that is a WebSocket.
pub fn asked(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let (protocol, others) = (protocols.next()?, protocols.next());
    let is_websocket = others.is_none() && protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes());
    let tokens = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let is_asked = tokens.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    (is_websocket && is_asked).then(|| protocol.clone())
}

/// Asks for the protocol, or says that it begins, in headers from which those of the connection before were dropped.
pub fn ask(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Passes on what comes at either end until one closes, or the one behind says nothing for as long as `patience`.
pub async fn tunnel(caller: OnUpgrade, behind: OnUpgrade, patience: Duration) {
    let (caller, behind) = match tokio::try_join!(caller, behind) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "a connection did not change its protocol");
            return;
        }
    };
    let mut behind = TimeoutReader::new(TokioIo::new(behind));
    behind.set_timeout(Some(patience));
    let mut behind = Box::pin(behind);
    if let Err(error) = tokio::io::copy_bidirectional(&mut TokioIo::new(caller), &mut behind).await {
        tracing::debug!(%error, "a connection with a protocol of its own broke off");
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn an_upgrade_is_asked_for_by_both_headers() {
        let ask = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            let headers: HeaderMap = pairs.iter().map(pair).collect();
            asked(&headers).map(|protocol| protocol.to_str().unwrap().to_owned())
        };
        let websocket = Some("websocket".to_owned());
        assert_eq!(ask(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]), websocket);
        assert_eq!(ask(&[("connection", "keep-alive"), ("upgrade", "websocket")]), None);
        assert_eq!(ask(&[("connection", "upgrade"), ("upgrade", "WebSocket")]), Some("WebSocket".to_owned()));
        assert_eq!(ask(&[("connection", "upgrade")]), None);
        for other in ["h2c", "websocket, h2c", "TLS/1.0"] {
            assert_eq!(ask(&[("connection", "upgrade"), ("upgrade", other)]), None, "{other}");
        }
    }
}
