//! Paths, and the server that answers on them.
//!
//! ```text
//! GET    /health/live           200 while the process answers
//! GET    /health/ready          200, or 503 with the reasons
//! GET    /metrics               OpenMetrics text
//! GET    /api/v1/cluster        ClusterView
//! GET    /api/v1/partitions     PartitionsPage; ?unhealthy=true, ?after=orders-12, ?limit=1000
//! GET    /api/v1/topics         [TopicView]
//! POST   /api/v1/topics         NewTopic → 201 TopicView
//! DELETE /api/v1/topics/{name}  204
//! ```
//!
//! A page in a browser cannot reach the writing paths across origins: they need a JSON content type
//! or DELETE, which a browser asks about first, and nothing here consents.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use super::{
    AdminBackend, AdminError, AdminErrorKind, ClusterView, NewTopic, PartitionsAsked,
    PartitionsPage, TopicView,
};
use crate::metrics::Metrics;

/// Largest request body: a topic with every setting takes a few hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Partitions of a page, where the asker does not say, and at most.
const PAGE_DEFAULT: usize = 1_000;
const PAGE_MAX: usize = 10_000;

struct App {
    backend: Arc<dyn AdminBackend>,
    metrics: Arc<Metrics>,
}

type Shared = State<Arc<App>>;

/// Answers HTTP on `listener` until `shutdown` resolves, then finishes what it had begun.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    backend: Arc<dyn AdminBackend>,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = router(Arc::new(App { backend, metrics }));
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/cluster", get(cluster))
        .route("/api/v1/partitions", get(partitions))
        .route("/api/v1/topics", get(topics).post(create_topic))
        .route("/api/v1/topics/{name}", delete(delete_topic))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}

async fn live() -> Json<serde_json::Value> {
    Json(json!({ "live": true }))
}

async fn ready(State(app): Shared) -> Response {
    let reasons = app.backend.not_ready();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

async fn metrics(State(app): Shared) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = app.metrics.render(&app.backend.readings());
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn cluster(State(app): Shared) -> Json<ClusterView> {
    Json(app.backend.cluster())
}

/// The query of `/api/v1/partitions`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartitionsQuery {
    #[serde(default)]
    unhealthy: bool,
    after: Option<String>,
    limit: Option<usize>,
}

async fn partitions(
    State(app): Shared,
    query: Result<Query<PartitionsQuery>, QueryRejection>,
) -> Result<Json<PartitionsPage>, AdminError> {
    let refused = |what: String| {
        let hint = "try /api/v1/partitions?unhealthy=true&after=orders-12&limit=100";
        AdminError::new(AdminErrorKind::Invalid, "INVALID_REQUEST", what, hint)
    };
    let Query(query) = query.map_err(|rejection| refused(rejection.body_text()))?;
    let after = query.after.as_deref().map(|after| {
        let (topic, index) = after.rsplit_once('-')?;
        Some((topic.to_owned(), index.parse().ok()?))
    });
    if after == Some(None) {
        return Err(refused("`after` names no partition".to_owned()));
    }
    let limit = query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let asked = PartitionsAsked { unhealthy: query.unhealthy, after: after.flatten(), limit };
    Ok(Json(app.backend.partitions(asked)))
}

async fn topics(State(app): Shared) -> Json<Vec<TopicView>> {
    Json(app.backend.cluster().topics)
}

async fn create_topic(
    State(app): Shared,
    body: Result<Json<NewTopic>, JsonRejection>,
) -> Result<(StatusCode, Json<TopicView>), AdminError> {
    let Json(topic) = body.map_err(|rejection| refused_body(&rejection))?;
    let made = app.backend.create_topic(topic).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

async fn delete_topic(
    State(app): Shared,
    Path(name): Path<String>,
) -> Result<StatusCode, AdminError> {
    app.backend.delete_topic(name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn refused_body(rejection: &JsonRejection) -> AdminError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return AdminError::new(
            AdminErrorKind::TooLarge,
            "BODY_TOO_LARGE",
            format!("the body is larger than {BODY_BYTES_MAX} bytes"),
            "send one topic per request",
        );
    }
    AdminError::new(
        AdminErrorKind::Invalid,
        "INVALID_REQUEST",
        rejection.body_text(),
        r#"send Content-Type: application/json and a body like {"name": "orders", "partitions": 6}"#,
    )
}

async fn unknown_path() -> AdminError {
    AdminError::new(
        AdminErrorKind::NotFound,
        "UNKNOWN_PATH",
        "there is nothing at this path",
        "try /health/ready, /metrics, /api/v1/cluster or /api/v1/topics",
    )
}

async fn wrong_method() -> AdminError {
    AdminError::new(
        AdminErrorKind::Method,
        "METHOD_NOT_ALLOWED",
        "this path does not take that method",
        "GET reads, POST makes a topic, DELETE removes one",
    )
}

#[cfg(test)]
mod tests;
