//! GET /v1/models, /health and /metrics: what there is, and how it is doing.

use super::App;
use super::error::{ApiError, json_response};
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;

/// GET /v1/models
pub fn list(app: &Arc<App>) -> Result<Response<Body>, ApiError> {
    app.check_ready()?;
    let models: Vec<Value> = app.settings.model_names.iter().map(|name| object(app, name)).collect();
    Ok(json_response(StatusCode::OK, &json!({ "object": "list", "data": models })))
}

/// GET /v1/models/NAME
pub fn one(app: &Arc<App>, name: &str) -> Result<Response<Body>, ApiError> {
    app.check_ready()?;
    match app.settings.model_names.iter().any(|it| it == name) {
        true => Ok(json_response(StatusCode::OK, &object(app, name))),
        false => Err(app.no_model(name)),
    }
}

fn object(app: &App, name: &str) -> Value {
    let root = &app.settings.model_names[0];
    json!({
        "id": name,
        "object": "model",
        "created": app.created,
        "owned_by": "gale",
        "root": root,
        "parent": null,
        "max_model_len": app.context(),
    })
}

/// GET /health
pub fn health(app: &Arc<App>) -> Result<Response<Body>, ApiError> {
    app.check_ready()?;
    Ok(json_response(StatusCode::OK, &json!({ "status": "ok" })))
}

/// GET /metrics
pub fn metrics(app: &Arc<App>) -> Response<Body> {
    let mut response = Response::new(Body::from(app.metrics.text(app.queue.n_waiting())));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
