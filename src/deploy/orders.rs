//! What the loop is asked to do: to bring a certificate to a target or no more, or to look there.

use std::sync::Arc;

use super::desired::Key;
use super::desired::Known;
use super::desired::stays;
use super::handle::DeployError;
use super::handle::Order;
use super::handle::Wish;
use super::handle::lock;
use super::reconcile::Loop;
use super::telling;
use crate::base::bounds::deployment::MOST;
use crate::cert::deployment::Deployment;
use crate::cert::deployment::Event;
use crate::cert::deployment::Made;
use crate::cert::deployment::Step;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;

impl Loop {
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Deploy(wish, answer) => {
                let _nobody_waits = answer.send(self.admit(wish).await);
            }
            Order::Undeploy(key, told, answer) => {
                let _nobody_waits = answer.send(self.dismiss(key, told).await);
            }
            Order::Look(key, answer) => {
                let config = Arc::clone(&self.means.configs.borrow());
                let known = lock(&self.shown).all.contains_key(&key);
                match config.target(&key.0) {
                    Some(target) if known && target.probe.is_some() => {
                        self.start(key, Arc::new(target.clone()), Step::Look, Some(answer));
                    }
                    Some(target) if known => {
                        let told = format!("target {} has probe = \"none\"", target.name);
                        let _nobody_waits = answer.send(Err(DeployError::Refused(told)));
                    }
                    _ => {
                        let _nobody_waits = answer.send(Err(unknown(&key)));
                    }
                }
            }
        }
    }

    async fn admit(&mut self, wish: Wish) -> Result<Deployment, DeployError> {
        let config = Arc::clone(&self.means.configs.borrow());
        if config.target(&wish.target).is_none() {
            let told = format!("no [[target]] of the configuration is called {}", wish.target);
            return Err(DeployError::Refused(told));
        }
        if !stays(&wish.record) {
            let told = "the certificate is being retired".to_owned();
            return Err(DeployError::Refused(told));
        }
        let (now, watch, known) = (self.means.clock.now(), self.watch(), Known::of(&wish.record));
        let key = (wish.target.clone(), known.id);
        let (former, many) = {
            let shown = lock(&self.shown);
            (shown.all.get(&key).cloned(), shown.all.len())
        };
        if former.is_none() && many >= MOST {
            let told = format!("there are {MOST} deployments, and no more may be made");
            return Err(DeployError::Refused(told));
        }
        let mut one = former.unwrap_or_else(|| {
            let place = (known.id, wish.target.clone());
            Deployment::new(place, wish.called.clone(), known.owner.clone(), Made::Asked, now)
        });
        if let Some(leaf) = known.leaf {
            one = one.after(Event::Wanted(leaf), watch, now, 0);
        }
        one = one.after(Event::Asked, watch, now, 0);
        let told =
            format!("it is to be brought to target {}, as {} wants it", one.target, wish.told);
        let kind = (EntryKind::DeploymentWanted, Level::Info);
        let entry = telling::entry(&one, kind, told, now);
        let kept = self.means.world.keep(vec![one.clone()], Vec::new(), vec![entry]).await;
        kept.map_err(DeployError::Unavailable)?;
        lock(&self.shown).all.insert(key, one.clone());
        Ok(one)
    }

    async fn dismiss(&mut self, key: Key, told: String) -> Result<Deployment, DeployError> {
        let one = lock(&self.shown).all.get(&key).cloned().ok_or_else(|| unknown(&key))?;
        if one.made == Made::File {
            return Err(DeployError::Refused(format!(
                "the configuration file wants {} at target {}: take it out of `certificates` there",
                one.called, one.target
            )));
        }
        let now = self.means.clock.now();
        let told = format!("it is not brought to target {} any more, as {told} wants it", key.0);
        let entry = telling::entry(&one, (EntryKind::Undeployed, Level::Info), told, now);
        let kept = self.means.world.keep(Vec::new(), vec![key.clone()], vec![entry]).await;
        kept.map_err(DeployError::Unavailable)?;
        lock(&self.shown).all.remove(&key);
        Ok(one)
    }
}

fn unknown((target, certificate): &Key) -> DeployError {
    DeployError::Refused(format!("certificate {certificate} is not deployed to target {target}"))
}
