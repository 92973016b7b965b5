//! Paths and methods, and what every request must pass before it is looked at.

use super::App;
use super::error::{ApiError, json_response};
use super::generate::{self, Request};
use super::limits::{MAX_BODY, MAX_HEAD_BYTES, MAX_HEADERS};
use super::{chat, completions, models, tokenize};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{self, Path, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

type Answer = Result<Response<Body>, ApiError>;
type Shared = State<Arc<App>>;
const HEALTH: &str = "/health";
/// Bytes of a body that is read faster than another thread is found for it.
const SMALL_BODY: usize = 4 << 10;

/// Every path.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(
            "/v1/chat/completions",
            post(async |app: Shared, it: extract::Request| generate(app, it, chat::parse).await),
        )
        .route(
            "/v1/completions",
            post(async |app: Shared, it: extract::Request| generate(app, it, completions::parse).await),
        )
        .route("/tokenize", post(async |app: Shared, it: extract::Request| compute(app, it, tokenize::tokenize).await))
        .route(
            "/detokenize",
            post(async |app: Shared, it: extract::Request| compute(app, it, tokenize::detokenize).await),
        )
        .route("/tokenizer_info", get(tokenizer_info))
        .route("/v1/models", get(async |State(app): Shared| models::list(&app)))
        .route("/v1/models/{*name}", get(model))
        .route(HEALTH, get(async |State(app): Shared| models::health(&app)))
        .route("/metrics", get(async |State(app): Shared| models::metrics(&app)))
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "the path takes another method")
        })
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "there is no such path, see docs/api.md"))
        .layer(middleware::from_fn_with_state(app.clone(), admit))
        .with_state(app)
}

async fn tokenizer_info(State(app): Shared) -> Answer {
    app.check_ready()?;
    Ok(json_response(StatusCode::OK, &tokenize::info(&app)))
}

async fn model(State(app): Shared, name: Result<Path<String>, PathRejection>) -> Answer {
    let Path(name) = name.map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    models::one(&app, &name)
}

/// Answers a request for text.
async fn generate(
    State(app): Shared,
    request: extract::Request,
    parse: fn(&App, &[u8]) -> Result<Request, ApiError>,
) -> Answer {
    let request = checked(&app, request, parse).await?;
    generate::answer(&app, request).await
}

/// Answers a request that the device has no part in.
async fn compute(
    State(app): Shared,
    request: extract::Request,
    compute: fn(&App, &[u8]) -> Result<Value, ApiError>,
) -> Answer {
    Ok(json_response(StatusCode::OK, &checked(&app, request, compute).await?))
}

/// What a function makes of the body: at once of a small one, else on a thread that may take its time.
async fn checked<T: Send + 'static>(
    app: &Arc<App>,
    request: extract::Request,
    parse: fn(&App, &[u8]) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    app.check_ready()?;
    let body = body(app, request).await?;
    let is_small = body.len() <= SMALL_BODY;
    let app = app.clone();
    // A panic of the tokenizer's crate is the client's trouble alone.
    let parse = move || catch_unwind(AssertUnwindSafe(|| parse(&app, &body)));
    let parsed = if is_small {
        parse()
    } else {
        tokio::task::spawn_blocking(parse).await.unwrap_or_else(|it| Err(Box::new(it)))
    };
    parsed.map_err(|_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be read"))?
}

/// The bytes of a body: all of them, in time, and not too many. A browser sends no foreign page's JSON without asking first.
async fn body(app: &App, request: extract::Request) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        let message = "expected the header Content-Type: application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let collected = tokio::time::timeout(app.settings.timeout, Limited::new(body, MAX_BODY).collect());
    match collected.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body: expected at most {MAX_BODY} bytes, found more");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Ok(Err(error)) => Err(ApiError::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))),
        Err(_) => {
            let message = format!("the body was not complete within {} s", app.settings.timeout.as_secs_f64());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(header::CONTENT_TYPE).map(|it| it.to_str()) else { return false };
    kind.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json"))
}

/// Not too many headers, and the key where there is one. Whether the server is well is nobody's secret.
async fn admit(State(app): Shared, request: extract::Request, next: Next) -> Response<Body> {
    let headers = request.headers();
    let n_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > MAX_HEADERS || n_bytes > MAX_HEAD_BYTES {
        let n = headers.len();
        let message =
            format!("expected at most {MAX_HEADERS} headers of {MAX_HEAD_BYTES} bytes, found {n} of {n_bytes}");
        return ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message).into_response();
    }
    match &app.settings.api_key {
        Some(key) if request.uri().path() != HEALTH && !has_key(request.headers(), key) => {
            let message = "expected the header Authorization: Bearer KEY with the key that the server was started with";
            ApiError::new(StatusCode::UNAUTHORIZED, message).with_code("invalid_api_key").into_response()
        }
        _ => next.run(request).await,
    }
}

/// Compares all bytes, however many are right, so that the time tells nothing.
fn has_key(headers: &HeaderMap, key: &str) -> bool {
    let Some(given) = headers.get(header::AUTHORIZATION).map(|it| it.as_bytes()) else { return false };
    let Some((scheme, given)) = given.split_at_checked(b"Bearer ".len()) else { return false };
    if !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return false;
    }
    let key = key.as_bytes();
    given.len() == key.len() && given.iter().zip(key).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}
