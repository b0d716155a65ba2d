//! The connect step `certificate`: the client is who its certificate says.

use hookmq_codec::ReasonCode;
use hookmq_hooks::{
    BoxFuture, CertificateFacts, ConnectAttempt, ConnectVerdict, FailureKind, HookSet,
    IdentityPatch, Program, ProgramIdentity, StepFailure, note,
};

use super::{builtin, contradiction, deny, failure};
use crate::Directory;
use crate::certificate::{CertificateSettings, Mapped, Mapping, MappingSource, UsernameConflict};

/// Accepts clients with a certificate that one of its mappings concerns, and vouches for what that
/// makes of it. Refuses all others.
pub struct CertificateProgram {
    identity: ProgramIdentity,
    settings: CertificateSettings,
    /// Asked where the mappings are in its table.
    directory: Option<Directory>,
}

impl CertificateProgram {
    pub fn new(settings: CertificateSettings, directory: Option<Directory>) -> Self {
        Self { identity: builtin("certificate"), settings, directory }
    }

    async fn identify(&self, attempt: &ConnectAttempt) -> Result<ConnectVerdict, StepFailure> {
        let Some(certificate) = &attempt.certificate else {
            return Ok(deny("the client has shown no certificate"));
        };
        match &self.settings.mappings {
            MappingSource::Listed(mappings) => Ok(self.by_list(attempt, certificate, mappings)),
            MappingSource::Database => self.by_table(attempt, certificate).await,
        }
    }

    async fn by_table(
        &self,
        attempt: &ConnectAttempt,
        certificate: &CertificateFacts,
    ) -> Result<ConnectVerdict, StepFailure> {
        let missing = || StepFailure::new(FailureKind::Error, "there is no section `database`");
        let directory = self.directory.as_ref().ok_or_else(missing)?;
        let mappings = directory.known_mappings().await.map_err(failure)?;
        Ok(match mappings.identify(certificate) {
            Ok((id, mut patch)) => {
                note("mapping", || id.to_string());
                patch.attachments.extend([Mapped::new(&patch).attached()]);
                self.settle(attempt, patch)
            }
            Err(why) => deny(why),
        })
    }

    fn by_list(
        &self,
        attempt: &ConnectAttempt,
        certificate: &CertificateFacts,
        mappings: &[Mapping],
    ) -> ConnectVerdict {
        let mappings = (1..).zip(mappings);
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
        HookSet::CONNECT
    }

    fn connect<'a>(
        &'a self,
        attempt: &'a ConnectAttempt,
    ) -> BoxFuture<'a, Result<ConnectVerdict, StepFailure>> {
        Box::pin(self.identify(attempt))
    }
}
