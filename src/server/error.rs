//! What a client is told when its request fails: a status and OpenAI's error object.

use crate::error::Error;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::fmt::Display;

/// `{"error": {"message", "type", "param", "code"}}`, and the status that goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    pub status: StatusCode,
    pub message: String,
    /// The field that is to blame.
    pub param: Option<String>,
    pub code: Option<&'static str>,
    /// When to try again, in seconds.
    pub retry_after: Option<u64>,
}

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into(), param: None, code: None, retry_after: None }
    }

    /// A field with a value that cannot be.
    pub fn field(param: impl Into<String>, message: impl Into<String>) -> ApiError {
        let param = param.into();
        let message = format!("{param}: {}", message.into());
        ApiError { param: Some(param), ..ApiError::new(StatusCode::BAD_REQUEST, message) }
    }

    pub fn with_code(self, code: &'static str) -> ApiError {
        ApiError { code: Some(code), ..self }
    }

    /// Nothing more is answered: the server is about to end.
    pub fn shutting_down() -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down")
    }

    /// The device failed, or never came up.
    pub fn broken(error: impl Display) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the server has to end: {error}"))
    }

    /// The thread that had the request is gone.
    pub fn abandoned() -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed before the answer was complete")
    }

    /// Of a request whose prompt came in the field `prompt_field`.
    pub fn of(error: &Error, prompt_field: &str) -> ApiError {
        let message = error.to_string();
        match error {
            Error::Option { option, expected, found } => {
                ApiError::field(*option, format!("expected {expected}, found {found}"))
            }
            Error::Context { .. } => ApiError::field(prompt_field, message).with_code("context_length_exceeded"),
            // Where the template lies is not the client's business.
            Error::Template { problem, .. } => ApiError::field(prompt_field, format!("chat template: {problem}")),
            Error::Prompt { .. } | Error::Tokenize { .. } => ApiError::field(prompt_field, message),
            _ => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }

    /// The error object.
    pub fn object(&self) -> Value {
        let Self { message, param, code, .. } = self;
        json!({ "error": { "message": message, "type": self.kind(), "param": param, "code": code } })
    }

    fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            503 => "unavailable_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = json_response(self.status, &self.object());
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A JSON body.
pub fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    let json = HeaderValue::from_static("application/json");
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
