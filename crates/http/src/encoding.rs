//! Content codings: bodies that callers compressed, and answers that they would rather have compressed. There is one,
//! gzip, which every client has.

use std::{convert::Infallible, future::ready, io};

use async_compression::tokio::bufread::GzipDecoder;
use axum::{body::Body, extract::Request, response::Response};
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body as _;
use tokio_util::io::{ReaderStream, StreamReader};
use tower::{ServiceExt, service_fn};
use tower_http::{CompressionLevel, compression::Compression};

use crate::ApiError;

/// Smallest answer that is compressed. What is smaller takes longer to compress than to send.
const WORTHWHILE: u64 = 8 * 1024;

/// The body as it was before the caller compressed it. It has still to be bounded: [`crate::body::read`] counts what
/// comes out.
///
/// # Errors
/// 415 where the coding is not known.
pub fn decoded(headers: &HeaderMap, body: Body) -> Result<Body, ApiError> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let (coding, further) = (codings.next(), codings.next());
    let name = coding.map(|coding| coding.to_str().unwrap_or("?").to_ascii_lowercase());
    match name.as_deref() {
        None | Some("identity") if further.is_none() => Ok(body),
        Some("gzip" | "x-gzip") if further.is_none() => Ok(gunzipped(body)),
        _ => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-encoding",
            format!(
                "a body in the coding `{}` cannot be read: send it as it is, or in `gzip`",
                name.unwrap_or_default()
            ),
        )),
    }
}

fn gunzipped(body: Body) -> Body {
    let mut decoder = GzipDecoder::new(StreamReader::new(body.into_data_stream().map_err(io::Error::other)));
    // What is appended to a stream is a part of it, as in files.
    decoder.multiple_members(true);
    Body::from_stream(ReaderStream::new(decoder))
}

/// The answer in a coding that the caller accepts, where that is worthwhile. A stream stays as it is: what is compressed
/// waits for more.
pub async fn negotiated(accepted: Option<HeaderValue>, response: Response) -> Response {
    let Some(accepted) = accepted.filter(|_| is_worthwhile(&response)) else { return response };
    let mut request = Request::new(Body::empty());
    request.headers_mut().insert(header::ACCEPT_ENCODING, accepted);
    let mut answer = Some(response);
    let answering = service_fn(move |_| ready(Ok::<_, Infallible>(answer.take().expect("it is asked once"))));
    let compressing = Compression::new(answering).quality(CompressionLevel::Fastest).compress_when(always);
    match Box::pin(compressing.oneshot(request)).await {
        Ok(compressed) => compressed.map(Body::new),
        Err(never) => match never {},
    }
}

fn always(_: StatusCode, _: http::Version, _: &HeaderMap, _: &http::Extensions) -> bool {
    true
}

fn is_worthwhile(response: &Response) -> bool {
    let headers = response.headers();
    let whole = response.body().size_hint().exact().is_some_and(|size| size >= WORTHWHILE);
    let kept = headers.get(header::CACHE_CONTROL).is_some_and(|value| contains(value, "no-transform"));
    let plain = !headers.contains_key(header::CONTENT_ENCODING) && !headers.contains_key(header::CONTENT_RANGE);
    whole && plain && !kept && headers.get(header::CONTENT_TYPE).is_some_and(is_text)
}

fn contains(value: &HeaderValue, part: &str) -> bool {
    value.to_str().is_ok_and(|text| text.contains(part))
}

/// Whether it is of a kind that becomes smaller.
fn is_text(content_type: &HeaderValue) -> bool {
    let text = content_type.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let ends = |suffix| essence.ends_with(suffix);
    let is_grpc = essence.starts_with("application/grpc");
    !is_grpc && (essence.starts_with("text/") || ends("json") || ends("javascript") || ends("xml") || ends("yaml"))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn coded(coding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(coding))])
    }

    fn json(size: usize) -> Response {
        let mut response = Response::new(Body::from("1".repeat(size)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    async fn answer(response: Response, accepted: &'static str) -> (HeaderMap, Vec<u8>) {
        let (parts, body) = negotiated(Some(HeaderValue::from_static(accepted)), response).await.into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test]
    async fn what_was_compressed_is_read_again() {
        let (headers, body) = answer(json(100_000), "gzip, deflate, br").await;
        assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
        assert_eq!(headers[header::VARY], "accept-encoding");
        assert!(!headers.contains_key(header::CONTENT_LENGTH) && body.len() < 1000);
        let body = decoded(&headers, Body::from(body)).unwrap();
        assert_eq!(crate::body::read(body, 100_000).await.unwrap(), "1".repeat(100_000));
    }

    #[tokio::test]
    async fn a_small_body_that_becomes_a_large_one_is_refused() {
        let (headers, body) = answer(json(1_000_000), "gzip").await;
        let body = decoded(&headers, Body::from(body)).unwrap();
        assert_eq!(crate::body::read(body, 10_000).await.unwrap_err().status, 413);
    }

    #[tokio::test]
    async fn what_is_no_gzip_is_told() {
        let body = decoded(&coded("gzip"), Body::from("{}")).unwrap();
        assert_eq!(crate::body::read(body, 100).await.unwrap_err().status, 400);
    }

    #[test]
    fn a_coding_that_is_not_known_is_refused() {
        for coding in ["br", "zstd", "gzip, gzip", "deflate"] {
            assert_eq!(decoded(&coded(coding), Body::empty()).unwrap_err().status, 415, "{coding}");
        }
        let mut twice = coded("gzip");
        twice.append(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(decoded(&twice, Body::empty()).is_err());
        assert!(decoded(&coded("identity"), Body::empty()).is_ok());
    }

    #[tokio::test]
    async fn an_answer_stays_as_it_is_where_that_is_better() {
        let plain = async |response: Response, accepted| {
            !answer(response, accepted).await.0.contains_key(header::CONTENT_ENCODING)
        };
        assert!(plain(json(100), "gzip").await);
        assert!(plain(json(100_000), "identity").await);
        assert!(plain(json(100_000), "gzip;q=0").await);
        let mut image = json(100_000);
        image.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
        assert!(plain(image, "gzip").await);
        let mut kept = json(100_000);
        kept.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-transform"));
        assert!(plain(kept, "gzip").await);
        let mut stream = json(0);
        let chunks = futures_util::stream::iter([Ok::<_, Infallible>("x".repeat(100_000))]);
        *stream.body_mut() = Body::from_stream(chunks);
        assert!(plain(stream, "gzip").await);
    }
}
