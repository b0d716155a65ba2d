//! The connect step `certificate`: the client is who its certificate says.

use hookmq_codec::ReasonCode;
use hookmq_hooks::{
    BoxFuture, ConnectAttempt, ConnectVerdict, HookSet, IdentityPatch, Program, ProgramIdentity,
    StepFailure, note,
};

use super::{builtin, contradiction, deny};
use crate::certificate::{CertificateSettings, UsernameConflict};

/// Accepts clients with a certificate that one of its mappings concerns, and vouches for what that
/// makes of it. Refuses all others.
pub struct CertificateProgram {
    identity: ProgramIdentity,
    settings: CertificateSettings,
}

impl CertificateProgram {
    pub fn new(settings: CertificateSettings) -> Self {
        Self { identity: builtin("certificate"), settings }
    }

    fn identify(&self, attempt: &ConnectAttempt) -> ConnectVerdict {
        let Some(certificate) = &attempt.certificate else {
            return deny("the client has shown no certificate");
        };
        let mappings = (1..).zip(&self.settings.mappings);
        let Some((number, mapping)) = mappings.into_iter().find(|(_, it)| it.concerns(certificate))
        else {
            let (anchor, voucher) = (&certificate.trust_anchor, certificate.vouched_by_proxy);
            let voucher = if voucher { "a proxy" } else { "tls" };
            return deny(format!(
                "no mapping concerns certificates of {:?} that {anchor:?} vouches for by {voucher}",
                certificate.issuer.text
            ));
        };
        note("mapping", || number.to_string());
        match mapping.identify(certificate) {
            Ok(patch) => self.settle(attempt, patch),
            Err(why) => deny(why),
        }
    }

    /// What CONNECT and the steps before say must not contradict the certificate.
    fn settle(&self, attempt: &ConnectAttempt, patch: IdentityPatch) -> ConnectVerdict {
        if let Some(why) = contradiction(&attempt.identity, &patch) {
            return deny(why);
        }
        let claimed = attempt.username.as_deref();
        if self.settings.username_conflict == UsernameConflict::Refuse
            && let (Some(claimed), Some(username)) = (claimed, &patch.username)
            && *claimed != **username
        {
            return ConnectVerdict::Deny {
                reason_code: ReasonCode::BadUserNameOrPassword,
                reason: format!("CONNECT names {claimed:?}, its certificate {username:?}"),
            };
        }
        ConnectVerdict::Accept(patch)
    }
}

impl Program for CertificateProgram {
    fn identity(&self) -> &ProgramIdentity {
        &self.identity
    }

    fn hooks(&self) -> HookSet {
        HookSet { connect: true, ..HookSet::default() }
    }

    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        Box::pin(async { Ok(self.identify(attempt)) })
    }
}
