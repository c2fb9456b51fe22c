//! Errors as JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What sort of failure it was, which decides the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminErrorKind {
    /// 400: the request cannot be right.
    Invalid,
    /// 404: what it names is not there.
    NotFound,
    /// 409: it contradicts what is there.
    Conflict,
    /// 413: the body is larger than any request here needs.
    TooLarge,
    /// 405: the path takes another method.
    Method,
    /// 503: try again, the cluster cannot decide now.
    Unavailable,
    /// 500: a bug or a broken machine; the log has more.
    Internal,
}

/// A failed administrative request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct AdminError {
    /// What sort of failure.
    pub kind: AdminErrorKind,
    /// A stable word for programs, Kafka's error name where there is one.
    pub code: String,
    /// What is wrong, a sentence.
    pub message: String,
    /// What to do, a sentence; may be empty.
    pub hint: String,
}

impl AdminError {
    /// An error from its four parts.
    pub fn new(
        kind: AdminErrorKind,
        code: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { kind, code: code.into(), message: message.into(), hint: hint.into() }
    }

    fn status(&self) -> StatusCode {
        match self.kind {
            AdminErrorKind::Invalid => StatusCode::BAD_REQUEST,
            AdminErrorKind::NotFound => StatusCode::NOT_FOUND,
            AdminErrorKind::Conflict => StatusCode::CONFLICT,
            AdminErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            AdminErrorKind::Method => StatusCode::METHOD_NOT_ALLOWED,
            AdminErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            AdminErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.code, "message": self.message, "hint": self.hint });
        (self.status(), Json(body)).into_response()
    }
}
