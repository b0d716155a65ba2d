//! What the API answers when it does not do what was asked.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hookmq_script::Problem;
use serde_json::json;

use super::tenant_programs::place_hint;
use crate::programs::{ProgramError, TenantProgramError};

/// `{"error": {"code", "message", "hint", "problems"}}` with a status.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    /// For programs; stays the same when the wording changes.
    code: &'static str,
    message: String,
    /// What would help.
    hint: Option<String>,
    problems: Vec<Problem>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), hint: None, problems: vec![] }
    }

    pub fn unauthorized() -> Self {
        let message = "send the admin token: Authorization: Bearer TOKEN";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub fn misdirected() -> Self {
        let message = "Host names none of this API's hosts: add the name to `admin.hosts`";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", message)
    }

    pub fn method_not_allowed() -> Self {
        let message = "this path has no such method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    pub fn timeout() -> Self {
        let message = "the request took too long";
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    pub fn busy() -> Self {
        let message = "too many changes wait for their turn; try again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub fn too_many(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message)
    }

    #[must_use]
    pub fn with_hint(self, hint: String) -> Self {
        Self { hint: Some(hint), ..self }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

/// What a plugin of a tenant may ask for.
const OFFERED: &str = "a tenant's plugin may have log, clock, metric, kv, and emit below topics that do not \
                       begin with `$`";

impl From<ProgramError> for ApiError {
    fn from(error: ProgramError) -> Self {
        let (message, hint) = (error.to_string(), error.hint());
        let answer = match error {
            ProgramError::NotInPipeline(_) => Self::not_found(message),
            ProgramError::NoCandidate(_)
            | ProgramError::NoPrevious(_)
            | ProgramError::Overtaken(_) => Self::conflict(message),
            ProgramError::Archive { .. } | ProgramError::Read { .. } => Self::internal(message),
            ProgramError::Rule(error) => Self {
                problems: error.problems,
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", message)
            },
            _ => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", message),
        };
        Self { hint, ..answer }
    }
}

impl From<TenantProgramError> for ApiError {
    fn from(error: TenantProgramError) -> Self {
        use TenantProgramError as E;
        let message = error.to_string();
        match error {
            E::Program(error) => error.into(),
            E::NoPlace(hook) => {
                let hook = format!("{hook:?}").to_lowercase();
                Self::conflict(message).with_hint(place_hint(&hook))
            }
            E::TooMany { .. }
            | E::Full { .. }
            | E::TooMuchDisk { .. }
            | E::DiskFull(_)
            | E::Taken(_)
            | E::NoPrevious(_) => Self::conflict(message),
            E::TooLong { .. } | E::ConfigTooLong { .. } => Self::too_large(message),
            E::TooOften(_) | E::Pushing => Self::too_many(message),
            E::NoSuch(_) => Self::not_found(message),
            E::NotOffered(_) => Self::refused(message).with_hint(OFFERED.into()),
            E::Connect(_) | E::TooManyTopics { .. } | E::Config(_) => Self::refused(message),
            E::Unreadable(_) | E::Archive(_) => Self::internal(message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(hint) = self.hint {
            error["hint"] = json!(hint);
        }
        if !self.problems.is_empty() {
            error["problems"] = json!(self.problems);
        }
        let mut response = (self.status, Json(json!({"error": error}))).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
