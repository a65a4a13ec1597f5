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
use crate::cert::challenge::PresentError;
use crate::cert::challenge::Presented;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::identifier::Identifier;
use crate::issuer::acme::classify;
use crate::issuer::acme::classify::During;
use crate::issuer::acme::prove;
use crate::issuer::acme::prove::Offer;
use crate::issuer::acme::prove::Tried;
use crate::issuer::dns::Planted;

/// The challenge that instant-acme does not know.
const PERSIST: &str = "dns-persist-01";

/// What is there as long as a challenge is answered.
enum Guard {
    /// By a listener of this machine.
    Here(Presented),
    /// By a record.
    InTheDns(Planted),
    /// By a record that stays.
    ForGood,
}

impl Drive<'_> {
    /// Presents a challenge for each name that is not proven yet, and waits for the CA's checks.
    pub(super) async fn prove(&self, order: &mut Order, tried: &mut Tried) -> Result<(), Trouble> {
        self.read_authorizations(order).await?;
        let mut presented: Vec<Presented> = Vec::new();
        let mut planted: Vec<Planted> = Vec::new();
        let mut offers = Vec::new();
        let mut named = Vec::new();
        let mut authorizations = order.authorizations();
        // Read above: this loop asks the CA nothing.
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization.map_err(|error| self.trouble(&error))?;
            let name = from_acme(&authorization.identifier())?;
            named.push(name.clone());
            if authorization.status != AuthorizationStatus::Pending {
                // Valid already, or the order is invalid, which is seen below.
                offers.push(None);
                continue;
            }
            let (offer, guard) = self.present(&name, &authorization, tried).await?;
            offers.push(Some(offer));
            match guard {
                Guard::Here(guard) => presented.push(guard),
                Guard::InTheDns(guard) => planted.push(guard),
                Guard::ForGood => {}
            }
            crash::point("challenge-presented");
        }
        // All at once, because each may take its time to spread.
        if let Some(dns) = &self.options.dns {
            dns.settle(&planted).await;
        }
        let mut limit = bounds::CA_VALIDATION;
        let mut authorizations = order.authorizations();
        for offer in offers {
            let Some(authorization) = authorizations.next().await else { break };
            let mut authorization = authorization.map_err(|error| self.trouble(&error))?;
            let Some(offer) = offer.filter(|offer| !offer.begun) else { continue };
            let name = from_acme(&authorization.identifier())?;
            let Some(mut challenge) = authorization.challenge(acme_type(offer.challenge)) else {
                return Err(prove::no_challenge(&name, self.challenges).into());
            };
            match insist!(challenge.set_ready().await) {
                Ok(()) => {}
                // The CA has looked already, and the order tells what came of it.
                Err(error) if classify::is_judgement(&error) => {
                    limit = bounds::orders::CA_JUDGEMENT;
                    break;
                }
                Err(error) => return Err(self.trouble(&error)),
            }
        }
        named.sort();
        if named != self.job.spec.names() {
            let detail = "the order is for other names than the ones wanted";
            return Err(Trouble::Gone(Failure::new(FailureKind::OrderLost, detail)));
        }
        let moved = self.wait(order, OrderStatus::Pending, limit).await;
        if let Err(Trouble::Failed(late)) = &moved
            && late.kind == FailureKind::Lapsed
            && limit < bounds::CA_VALIDATION
        {
            // This CA leaves it at that until it is asked to look once more.
            return Err(self.why_invalid(order, tried).await.into());
        }
        moved?;
        if order.state().status != OrderStatus::Invalid {
            crash::point("challenge-valid");
        }
        drop((presented, planted));
        Ok(())
    }

    /// Has a challenge for `name` answered: the best one that can be.
    async fn present(
        &self,
        name: &Identifier,
        authorization: &AuthorizationHandle<'_>,
        tried: &mut Tried,
    ) -> Result<(Offer, Guard), Trouble> {
        let offers: Vec<Offer> = authorization.challenges.iter().filter_map(offer).collect();
        let able = self.able(name);
        tried.offered(name, &able, &offers);
        loop {
            let offer = prove::choose(name, &able, &offers, self.job.attempt, tried)?;
            let kind = offer.challenge;
            let of_kind = |challenge: &&Challenge| challenge.r#type == acme_type(kind);
            let Some(challenge) = authorization.challenges.iter().find(of_kind) else {
                return Err(prove::no_challenge(name, self.challenges).into());
            };
            // instant-acme's own is that of nobody's key.
            let thumbprint = self.entry.signatory().thumbprint()?;
            let failure = match self.answer(kind, name, &challenge.token, &thumbprint).await {
                Ok(guard) => return Ok((offer, guard)),
                Err(error) => error.about(name.clone()).while_trying(kind),
            };
            tried.failed(failure.clone());
            if !tried.has_another_for(name) {
                return Err(tried.passing(name).unwrap_or(failure).into());
            }
            tracing::warn!(reason = %failure, "trying another challenge");
        }
    }

    /// The challenges that may be tried for `name`: the one by DNS only where it is asked for, or a
    /// zone is known for it, or nothing else will do.
    fn able(&self, name: &Identifier) -> Vec<ChallengeType> {
        let listed = &self.options.config.challenges;
        let star = format!("*.{name}");
        let has_star = self.job.spec.names().iter().any(|other| other.to_string() == star);
        let by_dns = name.is_wildcard()
            || has_star
            || self.job.challenge == Some(ChallengeType::Dns01)
            || listed.contains(&ChallengeType::Dns01)
            || self.options.dns.as_ref().is_some_and(|dns| dns.has_zone_of(name));
        let may = |kind: &ChallengeType| by_dns || *kind != ChallengeType::Dns01;
        let mut able: Vec<_> = self.challenges.iter().copied().filter(may).collect();
        // Its wildcard is proven at the very same place, whatever else may be out of reach.
        if has_star {
            able.sort_by_key(|kind| *kind != ChallengeType::Dns01);
        }
        able
    }

    /// Has the challenge of one kind answered.
    async fn answer(
        &self,
        kind: ChallengeType,
        name: &Identifier,
        token: &str,
        thumbprint: &str,
    ) -> Result<Guard, Failure> {
        let refused = |error: PresentError| prove::not_presented(&error);
        if let (ChallengeType::Dns01, Some(dns)) = (kind, &self.options.dns) {
            prove::check_token(token)?;
            return dns.plant(name, token, thumbprint).await.map(Guard::InTheDns).map_err(refused);
        }
        if kind == ChallengeType::DnsPersist01 {
            // Without a token: the account is what is proven.
            let checked = self.issuer.check_standing(name, self.directory, self.entry.url()).await;
            return checked.map(|()| Guard::ForGood);
        }
        let task = prove::task(kind, name, token, thumbprint)?;
        self.options.solver.present(task).await.map(Guard::Here).map_err(refused)
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

fn acme_type(challenge: ChallengeType) -> instant_acme::ChallengeType {
    match challenge {
        ChallengeType::Http01 => instant_acme::ChallengeType::Http01,
        ChallengeType::TlsAlpn01 => instant_acme::ChallengeType::TlsAlpn01,
        ChallengeType::Dns01 => instant_acme::ChallengeType::Dns01,
        ChallengeType::DnsPersist01 => instant_acme::ChallengeType::Unknown(PERSIST.to_owned()),
    }
}

fn offer(challenge: &Challenge) -> Option<Offer> {
    let kind = match &challenge.r#type {
        instant_acme::ChallengeType::Http01 => ChallengeType::Http01,
        instant_acme::ChallengeType::TlsAlpn01 => ChallengeType::TlsAlpn01,
        instant_acme::ChallengeType::Dns01 => ChallengeType::Dns01,
        instant_acme::ChallengeType::Unknown(text) if text == PERSIST => {
            ChallengeType::DnsPersist01
        }
        _ => return None,
    };
    let begun = challenge.status == ChallengeStatus::Processing;
    Some(Offer { challenge: kind, begun })
}
