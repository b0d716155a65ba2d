//! Who asks the API, and how far that goes: the broker's administrator, or that of one tenant.

use std::sync::Arc;

use axum::extract::{MatchedPath, RawPathParams, Request};
use axum::http::Method;
use axum::{RequestExt, http};

use super::error::ApiError;

/// Whose token came with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Who has the admin token may do everything.
    Broker,
    Tenant {
        tenant: Arc<str>,
        /// The token's name.
        token: Arc<str>,
    },
}

impl Caller {
    /// Whether the request is one that the caller may make at all. Some handlers look at the caller
    /// themselves, too: where the path alone does not say whose it is.
    pub(super) async fn may_make(&self, request: &mut Request) -> bool {
        let Self::Tenant { tenant, .. } = self else { return true };
        let method = request.method().clone();
        let Ok(path) = request.extract_parts::<MatchedPath>().await else { return false };
        let Ok(parameters) = request.extract_parts::<RawPathParams>().await else { return false };
        let is_own = |name: &str| {
            parameters.iter().any(|(parameter, value)| parameter == name && *value == **tenant)
        };
        match (method, path.as_str()) {
            (Method::GET | Method::HEAD | Method::PATCH, "/api/v1/tenants/{name}") => {
                is_own("name")
            }
            (Method::GET | Method::HEAD | Method::POST, "/api/v1/tenants/{name}/bans")
            | (Method::DELETE, "/api/v1/tenants/{name}/bans/{id}") => is_own("name"),
            (Method::GET | Method::HEAD, "/api/v1/tenants/{name}/rules")
            | (
                Method::GET | Method::HEAD | Method::PUT | Method::DELETE,
                "/api/v1/tenants/{name}/rules/{rule}",
            )
            | (Method::POST, "/api/v1/tenants/{name}/rules/{rule}/rollback") => is_own("name"),
            (Method::GET | Method::HEAD, "/api/v1/tenants/{name}/plugins")
            | (
                Method::GET | Method::HEAD | Method::PUT | Method::DELETE,
                "/api/v1/tenants/{name}/plugins/{plugin}",
            )
            | (Method::POST, "/api/v1/tenants/{name}/plugins/{plugin}/rollback") => is_own("name"),
            (Method::DELETE, "/api/v1/clients/{tenant}/{client_id}") => is_own("tenant"),
            (Method::GET | Method::HEAD, "/api/v1/clients") => true,
            (Method::POST, "/api/v1/explain") => true,
            _ => false,
        }
    }

    /// The one tenant that it may see.
    pub fn tenant(&self) -> Option<&Arc<str>> {
        match self {
            Self::Broker => None,
            Self::Tenant { tenant, .. } => Some(tenant),
        }
    }

    /// Refuses what is the broker's administrator's alone.
    pub fn demand_broker(&self, what: &str) -> Result<(), ApiError> {
        match self {
            Self::Broker => Ok(()),
            Self::Tenant { .. } => Err(ApiError::forbidden(what)),
        }
    }
}

/// Of a request that has passed the door; without one, nobody has let it in.
impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        _state: &S,
    ) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().ok_or_else(ApiError::unauthorized)
    }
}
