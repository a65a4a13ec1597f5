//! Many orders, some at once, each followed by the events of the daemon until it ends.
//!
//! Nothing is kept here between two runs: the daemon knows each line again by what stands in it.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::args_issue::Issue;
use super::super::connect::Client;
use super::super::connect::segment;
use super::super::issued_files::Places;
use super::super::out::Out;
use super::super::progress::Progress;
use super::super::report::NO_DAEMON;
use super::super::report::Report;
use super::follow;
use super::follow::Heard;
use super::lines::Line;
use super::outcome::Outcome;
use super::outcome::Row;
use crate::admin::wire::CertificateView;
use crate::admin::wire::EntryView;
use crate::admin::wire::Journal;
use crate::admin::wire::issue::Issuance;
use crate::cert::allowance::Class;

/// Pause after the daemon did not answer or asked for one.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(250);

/// After so long without a word about it, an order is asked for.
const SILENCE: Duration = Duration::from_secs(30);

/// How long those that failed and are tried again are waited for, when nothing else is to be done.
const PATIENCE: Duration = Duration::from_secs(120);

/// Entries on their way between the stream and the work.
const QUEUE: usize = 256;

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Whole,
    Interrupted,
}

/// An order that has not ended.
struct Order {
    row: usize,
    /// When it was last heard of.
    heard: Instant,
    /// Why it did not go well, while it is tried again; it does not hold others up then.
    failing: Option<String>,
    /// Whether the limit of the CA is why: such a one does.
    paced: bool,
}

/// A run.
pub(super) struct Run<'a> {
    client: &'a Client,
    what: &'a Issue,
    rows: Vec<Row>,
    queue: VecDeque<usize>,
    orders: BTreeMap<String, Order>,
    /// Classes of which nothing is left, and what was said of that.
    spent: BTreeMap<Class, String>,
    /// Whether nothing is left just now, and something may be given back by what is under way.
    held: bool,
    /// Whether the daemon does not answer.
    away: bool,
    progress: Progress,
    /// When it last went on.
    moved: Instant,
    /// When it last looked for orders of which nothing is heard.
    looked: Instant,
}

impl<'a> Run<'a> {
    pub(super) fn new(client: &'a Client, what: &'a Issue, lines: Vec<Line>) -> Self {
        // Time is that of the runtime, which this is not yet on.
        let open = |line| Row { line, certificate: None, outcome: Outcome::Open };
        let rows: Vec<_> = lines.into_iter().map(open).collect();
        Self {
            client,
            what,
            queue: (0..rows.len()).collect(),
            orders: BTreeMap::new(),
            spent: BTreeMap::new(),
            held: false,
            away: false,
            progress: Progress::of(rows.len()),
            moved: Instant::now(),
            looked: Instant::now(),
            rows,
        }
    }

    /// Orders everything and follows it. An interruption is an end like another: what is not there yet
    /// goes on at the daemon.
    pub(super) fn work_off(mut self, out: &mut Out) -> Result<(End, Vec<Row>), Report> {
        let client = self.client;
        let head: Journal = client.get("/events?limit=1")?.decode()?;
        let (told, mut heard) = mpsc::channel(QUEUE);
        let end = client.wait(async {
            tokio::select! {
                ended = self.work(&mut heard, out) => ended.map(|()| End::Whole),
                // It ends only where it is refused.
                ended = follow::follow(client, head.head, told) => ended.map(|()| End::Whole),
                _ = tokio::signal::ctrl_c() => Ok(End::Interrupted),
            }
        });
        self.progress.clear(out);
        for order in self.orders.values() {
            let why = order.failing.clone().unwrap_or_else(|| "it is being ordered".to_owned());
            if let Some(row) = self.rows.get_mut(order.row) {
                row.outcome = Outcome::Pending { why };
            }
        }
        Ok((end?, self.rows))
    }

    async fn work(
        &mut self,
        heard: &mut mpsc::Receiver<Heard>,
        out: &mut Out,
    ) -> Result<(), Report> {
        loop {
            while self.room()
                && let Some(row) = self.queue.pop_front()
            {
                self.order(row, out).await?;
                self.draw(out);
                // What is heard meanwhile is not to pile up.
                while let Ok(heard) = heard.try_recv() {
                    self.hear(heard, out).await?;
                }
            }
            if self.queue.is_empty() && (self.orders.is_empty() || self.is_tired()) {
                return Ok(());
            }
            match tokio::time::timeout(TICK, heard.recv()).await {
                Ok(Some(heard)) => self.hear(heard, out).await?,
                Ok(None) => tokio::time::sleep(TICK).await,
                Err(_) => {}
            }
            // However much is heard of others.
            if self.looked.elapsed() >= PAUSE {
                self.looked = Instant::now();
                self.ask_after_the_silent(out).await?;
            }
            self.draw(out);
        }
    }

    /// Whether one more may be ordered.
    fn room(&self) -> bool {
        !self.held && self.at_work().count() < usize::from(self.what.at_once)
    }

    /// Those of which something is to be heard soon.
    fn at_work(&self) -> impl Iterator<Item = &Order> {
        self.orders.values().filter(|order| order.failing.is_none() || order.paced)
    }

    fn is_at_work(&self) -> bool {
        self.at_work().next().is_some()
    }

    /// Whether nothing is left but those that fail, and that for long.
    fn is_tired(&self) -> bool {
        let failing = self.orders.values().all(|order| order.failing.is_some() && !order.paced);
        failing && self.moved.elapsed() > PATIENCE
    }

    async fn order(&mut self, row: usize, out: &mut Out) -> Result<(), Report> {
        let Some(line) = self.rows.get(row).map(|row| row.line.clone()) else { return Ok(()) };
        let class = Class::of(&line.names);
        if let Some(why) = self.spent.get(&class) {
            let why = why.clone();
            self.end(row, Outcome::Failed { why });
            return Ok(());
        }
        let batch = self.what.batch.as_deref().unwrap_or_default();
        let order = line.order(batch, self.what.client.as_deref());
        loop {
            match self.client.post_order(&order).await {
                Ok(answer) => {
                    let issuance: Issuance = answer.decode()?;
                    let certificate = issuance.certificate;
                    if let Some(row) = self.rows.get_mut(row) {
                        row.certificate = Some(certificate.id.clone());
                    }
                    let order = Order { row, heard: Instant::now(), failing: None, paced: false };
                    self.orders.insert(certificate.id.clone(), order);
                    return self.look(&certificate, out).await;
                }
                // The same order is found again by its key, if it was taken.
                Err(report) if report.status == NO_DAEMON || report.is_passing() => {
                    let why = report.what.clone().unwrap_or_default();
                    self.progress.waits(Some(why));
                    self.progress.draw(out, out.width);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(report) if report.is_overdrawn() && self.is_at_work() => {
                    self.held = true;
                    self.queue.push_front(row);
                    return Ok(());
                }
                Err(report) => {
                    let why = [report.what.as_slice(), &report.causes].concat().join(": ");
                    if report.is_overdrawn() {
                        self.spent.insert(class, why.clone());
                    }
                    self.end(row, Outcome::Failed { why });
                    return Ok(());
                }
            }
        }
    }

    async fn hear(&mut self, heard: Heard, out: &mut Out) -> Result<(), Report> {
        match heard {
            Heard::Entry(entry) => self.hear_of(&entry, out).await,
            Heard::Away => {
                self.away = true;
                Ok(())
            }
            Heard::There => {
                self.away = false;
                // The journal may have lost what happened meanwhile.
                for order in self.orders.values_mut() {
                    order.heard = order.heard.checked_sub(SILENCE).unwrap_or(order.heard);
                }
                Ok(())
            }
        }
    }

    async fn hear_of(&mut self, entry: &EntryView, out: &mut Out) -> Result<(), Report> {
        let Some(id) = &entry.certificate else { return Ok(()) };
        let Some(order) = self.orders.get_mut(id) else { return Ok(()) };
        order.heard = Instant::now();
        // What else is told of it changes nothing of how it ends.
        let telling = ["installed", "failed", "astray", "halted", "retired", "deleted", "revoked"];
        if telling.contains(&entry.kind.as_str()) {
            self.ask(&id.clone(), out).await?;
        }
        Ok(())
    }

    async fn ask_after_the_silent(&mut self, out: &mut Out) -> Result<(), Report> {
        let silent = |order: &&Order| order.heard.elapsed() >= SILENCE;
        let silent = self.orders.iter().filter(|(_, order)| silent(order)).map(|(id, _)| id);
        let silent: Vec<_> = silent.take(usize::from(self.what.at_once)).cloned().collect();
        for id in silent {
            self.ask(&id, out).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, id: &str, out: &mut Out) -> Result<(), Report> {
        match self.client.fetch(&format!("/certificates/{}", segment(id))).await {
            Ok(answer) => self.look(&answer.decode::<CertificateView>()?, out).await,
            Err(report) if report.status == NO_DAEMON || report.is_passing() => Ok(()),
            Err(report) => {
                let why = report.what.unwrap_or_default();
                if let Some(order) = self.orders.remove(id) {
                    self.end(order.row, Outcome::Failed { why });
                }
                Ok(())
            }
        }
    }

    /// How an order stands by what the daemon shows of it.
    async fn look(&mut self, view: &CertificateView, out: &mut Out) -> Result<(), Report> {
        let Some(order) = self.orders.get_mut(&view.id) else { return Ok(()) };
        order.heard = Instant::now();
        if let Some(installed) = &view.installed {
            let row = order.row;
            self.orders.remove(&view.id);
            let written = self.write(row, &view.id).await;
            let outcome = match written {
                Ok(()) => Outcome::Issued {
                    serial: installed.serial.clone(),
                    not_after: installed.not_after,
                },
                // It can be had again: the line is said once more.
                Err(report) if report.status == NO_DAEMON || report.is_passing() => {
                    self.queue.push_back(row);
                    return Ok(());
                }
                Err(report) => {
                    let why = report.what.clone().unwrap_or_default();
                    Outcome::Failed { why: format!("it was issued, and not written: {why}") }
                }
            };
            self.end(row, outcome);
            return Ok(());
        }
        let failure =
            view.failure.as_ref().map(|failure| (failure.kind.clone(), failure.detail.clone()));
        if view.phase == "halted" || view.phase == "retiring" {
            let why = failure.map_or_else(|| "its order was withdrawn".to_owned(), |(_, why)| why);
            if let Some(order) = self.orders.remove(&view.id) {
                self.end(order.row, Outcome::Failed { why });
            }
            return Ok(());
        }
        order.paced = failure.as_ref().is_some_and(|(kind, _)| kind == "rate-limited");
        order.failing = failure.map(|(_, why)| why);
        if order.failing.is_some() {
            self.held = false;
        }
        self.draw(out);
        Ok(())
    }

    /// Shows how far it is, and what is waited for.
    fn draw(&mut self, out: &mut Out) {
        let paced = || self.orders.values().find(|order| order.paced)?.failing.clone();
        let away = self.away.then(|| "the daemon does not answer".to_owned());
        self.progress.waits(away.or_else(paced));
        self.progress.draw(out, out.width);
    }

    async fn write(&self, row: usize, id: &str) -> Result<(), Report> {
        let Some(row) = self.rows.get(row) else { return Ok(()) };
        let dir = match (&row.line.out, &self.what.out) {
            (Some(own), Some(of_all)) => of_all.join(own),
            (Some(own), None) => own.clone(),
            (None, Some(of_all)) => of_all.clone(),
            (None, None) => return Ok(()),
        };
        std::fs::create_dir_all(&dir).map_err(|error| {
            Report::new(super::super::report::FAILED, format!("{}: {error}", dir.display()))
        })?;
        let places = Places::below(&dir, &row.line.first, row.line.exportable);
        let pem = self.client.fetch(&format!("/certificates/{}/chain", segment(id))).await?;
        places.write_with(self.client, id, &pem.0, self.what.force)
    }

    fn end(&mut self, row: usize, outcome: Outcome) {
        self.progress.end(matches!(outcome, Outcome::Issued { .. }));
        self.moved = Instant::now();
        self.held = false;
        if let Some(row) = self.rows.get_mut(row) {
            row.outcome = outcome;
        }
    }
}
