//! The proofs of an order: challenges presented and checked, and why they were refused.

use instant_acme::AuthorizationHandle;
use instant_acme::AuthorizationStatus;
use instant_acme::Challenge;
use instant_acme::ChallengeStatus;
use instant_acme::Order;
use instant_acme::OrderStatus;

use super::Drive;
use super::Trouble;
use crate::base::bounds;
use crate::base::crash;
use crate::cert::challenge::ChallengeType;
use crate::cert::challenge::Presented;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::identifier::Identifier;
use crate::issuer::acme::classify;
use crate::issuer::acme::classify::During;
use crate::issuer::acme::prove;
use crate::issuer::acme::prove::Offer;
use crate::issuer::acme::prove::Tried;

impl Drive<'_> {
    /// Presents a challenge for each name that is not proven yet, and waits for the CA's checks.
    pub(super) async fn prove(&self, order: &mut Order, tried: &mut Tried) -> Result<(), Trouble> {
        self.read_authorizations(order).await?;
        let mut presented: Vec<Presented> = Vec::new();
        let mut named = Vec::new();
        let mut authorizations = order.authorizations();
        // Read above: this loop asks the CA nothing but to check.
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.trouble(&error))?;
            let name = from_acme(&authorization.identifier())?;
            named.push(name.clone());
            if authorization.status != AuthorizationStatus::Pending {
                // Valid already, or the order is invalid, which is seen below.
                continue;
            }
            let (offer, guard) = self.present(&name, &authorization, tried).await?;
            presented.push(guard);
            crash::point("challenge-presented");
            let Some(mut challenge) = authorization.challenge(acme_type(offer.challenge)) else {
                return Err(prove::no_challenge(&name, self.challenges).into());
            };
            if !offer.begun {
                insist!(challenge.set_ready().await).map_err(|error| self.trouble(&error))?;
            }
        }
        named.sort();
        if named != self.job.spec.names() {
            let detail = "the order is for other names than the ones wanted";
            return Err(Trouble::Gone(Failure::new(FailureKind::OrderLost, detail)));
        }
        self.wait(order, OrderStatus::Pending, bounds::CA_VALIDATION).await?;
        if order.state().status != OrderStatus::Invalid {
            crash::point("challenge-valid");
        }
        drop(presented);
        Ok(())
    }

    /// Has a challenge for `name` answered: the best one that can be.
    async fn present(
        &self,
        name: &Identifier,
        authorization: &AuthorizationHandle<'_>,
        tried: &mut Tried,
    ) -> Result<(Offer, Presented), Trouble> {
        let offers: Vec<Offer> = authorization.challenges.iter().filter_map(offer).collect();
        tried.offered(name, self.challenges, &offers);
        loop {
            let offer = prove::choose(name, self.challenges, &offers, self.job.attempt, tried)?;
            let kind = offer.challenge;
            let of_kind = |challenge: &&Challenge| challenge.r#type == acme_type(kind);
            let Some(challenge) = authorization.challenges.iter().find(of_kind) else {
                return Err(prove::no_challenge(name, self.challenges).into());
            };
            // instant-acme's own is that of nobody's key.
            let thumbprint = self.entry.signatory().thumbprint()?;
            let task = prove::task(kind, name, &challenge.token, &thumbprint)?;
            let failure = match self.options.solver.present(task).await {
                Ok(guard) => return Ok((offer, guard)),
                Err(error) => prove::not_presented(&error).about(name.clone()).while_trying(kind),
            };
            tried.failed(failure.clone());
            if !tried.has_another_for(name) {
                return Err(tried.passing(name).unwrap_or(failure).into());
            }
            tracing::warn!(reason = %failure, "trying another challenge");
        }
    }

    /// Reads every authorization that was not read yet.
    async fn read_authorizations(&self, order: &mut Order) -> Result<(), Trouble> {
        insist!(read_all(order, false).await).map_err(|error| self.trouble(&error))
    }

    /// Why the order is invalid, from the authorizations that failed or the order itself.
    pub(super) async fn why_invalid(&self, order: &mut Order, tried: &mut Tried) -> Failure {
        let mut first = None;
        if insist!(read_all(order, true).await).is_ok() {
            let mut authorizations = order.authorizations();
            while let Some(Ok(authorization)) = authorizations.next().await {
                let refused = authorization
                    .challenges
                    .iter()
                    .find_map(|c| Some((offer(c).map(|offer| offer.challenge), c.error.as_ref()?)));
                let Some((kind, problem)) = refused else { continue };
                let mut failure = classify::problem(problem, During::Challenge);
                failure.challenge = kind;
                if let Ok(name) = from_acme(&authorization.identifier()) {
                    failure.subject = Some(name);
                }
                tried.failed(failure.clone());
                first.get_or_insert(failure);
            }
        }
        match (first, &order.state().error) {
            (Some(failure), _) => failure,
            (None, Some(problem)) => classify::problem(problem, During::Challenge),
            (None, None) => Failure::new(FailureKind::OrderLost, "the order is invalid or expired"),
        }
    }
}

/// Reads the authorizations of `order`: all of them, or those that were not read yet.
///
/// May be repeated after an error: what was read stays read.
async fn read_all(order: &mut Order, again: bool) -> Result<(), instant_acme::Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if again {
            authorization.refresh().await?;
        }
    }
    Ok(())
}

fn from_acme(name: &instant_acme::AuthorizedIdentifier<'_>) -> Result<Identifier, Failure> {
    Identifier::parse(&name.to_string()).map_err(|error| {
        let detail = format!("the CA asks for the proof of no name of ours: {error}");
        Failure::new(FailureKind::CaFault, classify::clean(&detail))
    })
}

const fn acme_type(challenge: ChallengeType) -> instant_acme::ChallengeType {
    match challenge {
        ChallengeType::Http01 => instant_acme::ChallengeType::Http01,
        ChallengeType::TlsAlpn01 => instant_acme::ChallengeType::TlsAlpn01,
    }
}

fn offer(challenge: &Challenge) -> Option<Offer> {
    let kind = match challenge.r#type {
        instant_acme::ChallengeType::Http01 => ChallengeType::Http01,
        instant_acme::ChallengeType::TlsAlpn01 => ChallengeType::TlsAlpn01,
        _ => return None,
    };
    let begun = challenge.status == ChallengeStatus::Processing;
    Some(Offer { challenge: kind, begun })
}
