//! Hosting, take-over and revocation as the socket shows them.

use super::view;
use super::wire::Moment;
use super::wire::care::CareView;
use super::wire::care::LeftView;
use super::wire::care::RevokedView;
use super::wire::care::RevokingView;
use super::wire::issue::IssueView;
use super::wire::standby::OtherView;
use super::wire::standby::StandbyView;
use crate::base::Timestamp;
use crate::cert::care::Hosting;
use crate::cert::choice::Left;
use crate::cert::record::Certificate;
use crate::cert::standby::Standby;

fn left(left: &Left) -> LeftView {
    LeftView {
        issuer: left.issuer.to_string(),
        at: left.at.into(),
        reason: left.detail.clone(),
        again: left.again.map(Moment),
    }
}

/// What is to become of it besides.
pub(super) fn care(record: &Certificate) -> CareView {
    let care = &record.care;
    let (hosted_since, accept, hosting_ended) = match &care.hosting {
        Hosting::Not => (None, Vec::new(), None),
        Hosting::Hosted { since, accept } => {
            let words = accept.words().into_iter().map(str::to_owned).collect();
            (Some(Moment(*since)), words, None)
        }
        Hosting::Ended { since, difference } => {
            (Some(Moment(*since)), Vec::new(), Some(difference.clone()))
        }
    };
    let still = record.shown().map(|one| one.serial.as_str());
    CareView {
        hosted: care.hosting.accept().is_some(),
        hosted_since,
        accept,
        hosting_ended,
        take_over_at: care.take_over.map(|one| Moment(one.at)),
        source: care.source.as_ref().map(ToString::to_string),
        revoking: care.revoking.as_ref().map(|one| RevokingView {
            serial: one.serial.clone(),
            reason: one.reason.to_string(),
            attempt: one.attempt,
            next: (still != Some(one.serial.as_str())).then_some(Moment(one.next)),
            detail: one.detail.clone(),
        }),
        revoked: care.revoked.as_ref().map(|one| RevokedView {
            serial: one.serial.clone(),
            at: one.at.into(),
            reason: one.reason.map(|reason| reason.to_string()),
        }),
        stand_in: care.choice.issued.as_ref().map(ToString::to_string),
        asked: care.choice.asked.as_ref().map(ToString::to_string),
        left: care.choice.left.iter().map(left).collect(),
        standby: care.standby.as_ref().map(standby),
    }
}

fn standby(standby: &Standby) -> StandbyView {
    StandbyView {
        shown: !standby.back,
        preferred: standby.first,
        since: standby.since.into(),
        reason: standby.cause.to_string(),
        beside: standby.beside.to_string(),
        other: None,
    }
}

/// The other one of two, for who looks at the first.
pub(super) fn other(record: &Certificate, now: Timestamp) -> OtherView {
    let installed = record.installed.as_ref();
    OtherView {
        issuer: record.issued_by().to_string(),
        condition: view::condition(record, now).to_owned(),
        serial: installed.map(|one| one.serial.clone()),
        not_after: installed.map(|one| one.validity.not_after.into()),
        good: record.is_good(now),
    }
}

/// How a client ordered it.
pub(super) fn issue(record: &Certificate) -> Option<IssueView> {
    let (issue, claim) = (record.care.issue.as_ref()?, record.claim()?);
    Some(IssueView {
        client: issue.client.to_string(),
        class: issue.class.to_string(),
        claim: claim.word().to_owned(),
        exportable: issue.exportable,
        key_elsewhere: issue.csr.is_some(),
        since: issue.since.into(),
        give_up: issue.give_up.into(),
    })
}
