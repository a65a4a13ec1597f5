//! Requests and replies between main and the vault, as bytes: the whole vocabulary.
//!
//! Everything that arrives at the vault may have been written by someone who owns main. So a
//! length is checked before it is believed, an unknown tag or a byte too many ends the
//! conversation, and nothing is allocated on a peer's word alone.
//!
//! A frame is a tag, the request's number (little-endian, as all integers), and the fields in
//! order. Byte strings carry their length in two octets. Deliberately absent: a request that
//! returns a private key: one that may leave is written into a descriptor of its receiver, or
//! encrypted to him.

use super::codec::Reader;
use super::codec::Writer;
use super::figures::FIGURES;
use super::octets::algorithm_octet;
use super::octets::algorithm_of;
use super::octets::usage_octet;
use super::octets::usage_of;
use super::purpose::Purpose;
use super::refusal::REFUSALS;
pub use super::refusal::Refusal;
use super::scheme::Scheme;
use super::seal::Mark;
use super::succession::Step;
use super::tally::Counted;
use super::wire_several::Answers;
use super::wire_several::Questions;
use super::wire_tickets::TicketReply;
use super::wire_tickets::TicketRequest;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;

/// Version of the vocabulary; both halves are the same binary, so it must be equal.
pub const VERSION: u32 = 1;

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WireError {
    /// It ends before its last field.
    #[error("frame is too short")]
    Short,
    /// It goes on after its last field, or is larger than a frame may be.
    #[error("frame is too long")]
    Long,
    /// No frame of this vocabulary begins like this.
    #[error("unknown frame {0}")]
    UnknownTag(u8),
    /// A field holds a value that does not exist.
    #[error("unknown value in field `{0}`")]
    BadField(&'static str),
}

/// What main may ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request<'a> {
    /// First on the control channel, once. The worker channels travel with it.
    Hello {
        /// Must be [`VERSION`].
        version: u32,
        /// Bytes of opened keys that may be kept.
        cache_bytes: u64,
        /// The core of each channel that travels along; `u16::MAX` for any.
        cores: Vec<u16>,
        /// After the channels, memory with a gate for each worker travels along.
        gates: bool,
    },
    /// Make a key and return it sealed.
    Generate {
        /// Its kind.
        algorithm: KeyAlgorithm,
        /// Its calling, bound into the seal.
        usage: KeyUsage,
    },
    /// Sign, and keep the key open.
    Sign {
        /// Which key.
        key: KeyId,
        /// What for; the message is checked against it.
        purpose: Purpose,
        /// How.
        scheme: Scheme,
        /// What; not hashed.
        message: &'a [u8],
        /// The sealed key, in case it is not open; empty to be told so.
        sealed: &'a [u8],
    },
    /// Sign for several handshakes.
    Several(Questions<'a>),
    /// Drop an opened key.
    Forget {
        /// Which key.
        key: KeyId,
    },
    /// Seal the key of an account as one that stays: an earlier version sealed it as a secret that
    /// main could have opened.
    TakeOver {
        /// The account, bound into the seal.
        label: &'a [u8],
        /// As it was sealed.
        sealed: &'a [u8],
    },
    /// Are you there, and how much have you done?
    Ping,
    /// To which public key are boxes with keys to be sealed?
    ImportKey,
    /// Take a private key out of a box and return it sealed.
    Import {
        /// Its kind.
        algorithm: KeyAlgorithm,
        /// Its calling, bound into box and seal.
        usage: KeyUsage,
        /// Its name, bound into the box.
        key: KeyId,
        /// The sender's half of the exchange.
        encapsulated: &'a [u8],
        /// The private key, encrypted.
        sealed: &'a [u8],
    },
    /// Seal a record anew, under the present master key.
    Reseal(&'a [u8]),
    /// End, so that the next vault takes this step in the succession of the master key.
    ChangeMaster(Step),
    /// How often has the thread behind channel `desk` signed with which key?
    Signed {
        /// The channel, as in `Hello`.
        desk: u16,
        /// Where to go on in its table; 0 first.
        from: u16,
    },
    /// Which keys are the busiest?
    Busiest {
        /// So many of them are known already; 0 has them ranked anew.
        skip: u32,
    },
    /// Open a sealed key that was busy in an earlier run, while there is room.
    Warm {
        /// How busy.
        heat: u64,
        /// The sealed key.
        sealed: &'a [u8],
    },
    /// Write an exportable key into the descriptor that travels along.
    Export {
        /// The sealed key.
        sealed: &'a [u8],
    },
    /// Return an exportable key encrypted to a recipient of age.
    Deliver {
        /// The recipient's public key.
        recipient: [u8; 32],
        /// The sealed key.
        sealed: &'a [u8],
    },
    /// About session tickets.
    Tickets(TicketRequest<'a>),
}

/// What the vault may answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply<'a> {
    /// To `Hello`: ready.
    Welcome {
        /// The process.
        pid: u32,
        /// The master key was made just now.
        created: bool,
        /// Every wall: its name's number, how far it stands, and why not further.
        walls: Vec<(u8, u8, &'a [u8])>,
        /// Workers are heard at their gates, not at their sockets.
        gates: bool,
        /// The master keys it has, the present one first: one, or two.
        masters: Vec<Mark>,
    },
    /// A new key.
    Generated {
        /// DER subject public key info.
        spki: &'a [u8],
        /// The private half, sealed.
        sealed: &'a [u8],
    },
    /// Done; nothing to say.
    Done,
    /// A signature.
    Signature(&'a [u8]),
    /// To `Several`.
    Several(Answers<'a>),
    /// The key is not open: ask again with the sealed key along.
    NeedBlob,
    /// A record that was sealed anew, a public key, or a key for its recipient.
    Bytes(&'a [u8]),
    /// To `Ping`.
    Figures([u64; FIGURES]),
    /// To `Signed`: a part of the table.
    Counts {
        /// Where to go on; 0 at the end.
        next: u16,
        /// Up to [`TALLY_PAGE`](crate::base::bounds::TALLY_PAGE) of them.
        counts: Vec<Counted>,
    },
    /// To `Busiest`: keys and how busy they are, the busiest first.
    Busiest(Vec<(KeyId, u64)>),
    /// To `Warm`: whether it is open now; there is no room otherwise.
    Warmed(bool),
    /// Well-formed, but not to be done.
    Refused {
        /// The kind of refusal.
        code: Refusal,
        /// In plain words, without secrets.
        text: &'a [u8],
    },
    /// About session tickets.
    Tickets(TicketReply<'a>),
}

impl<'a> Request<'a> {
    /// Writes the frame into `frame`, which is cleared first.
    ///
    /// # Errors
    /// [`WireError::Long`] when it is larger than a frame may be.
    pub fn encode(&self, id: u64, frame: &mut Vec<u8>) -> Result<(), WireError> {
        let mut out = Writer::new(frame);
        match self {
            Self::Hello { version, cache_bytes, cores, gates } => {
                out.head(1, id);
                out.u32(*version);
                out.u64(*cache_bytes);
                out.u16(u16::try_from(cores.len()).map_err(|_| WireError::Long)?);
                cores.iter().for_each(|core| out.u16(*core));
                out.u8(u8::from(*gates));
            }
            Self::Generate { algorithm, usage } => {
                out.head(2, id);
                out.u8(algorithm_octet(*algorithm));
                out.u8(usage_octet(*usage));
            }
            Self::Sign { key, purpose, scheme, message, sealed } => {
                out.head(4, id);
                out.array(&key.0);
                out.u8(purpose.octet());
                out.u16(scheme.code());
                out.bytes(message);
                out.bytes(sealed);
            }
            Self::Several(questions) => {
                out.head(70, id);
                questions.encode(&mut out);
            }
            Self::Forget { key } => {
                out.head(5, id);
                out.array(&key.0);
            }
            Self::TakeOver { label, sealed } => {
                out.head(80, id);
                out.bytes(label);
                out.bytes(sealed);
            }
            Self::Ping => out.head(8, id),
            Self::Busiest { skip } => {
                out.head(40, id);
                out.u32(*skip);
            }
            Self::Warm { heat, sealed } => {
                out.head(41, id);
                out.u64(*heat);
                out.bytes(sealed);
            }
            Self::Reseal(sealed) => {
                out.head(20, id);
                out.bytes(sealed);
            }
            Self::ChangeMaster(step) => {
                out.head(21, id);
                out.u8(step.status());
            }
            Self::ImportKey => out.head(30, id),
            Self::Import { algorithm, usage, key, encapsulated, sealed } => {
                out.head(31, id);
                out.u8(algorithm_octet(*algorithm));
                out.u8(usage_octet(*usage));
                out.array(&key.0);
                out.bytes(encapsulated);
                out.bytes(sealed);
            }
            Self::Export { sealed } => {
                out.head(32, id);
                out.bytes(sealed);
            }
            Self::Deliver { recipient, sealed } => {
                out.head(33, id);
                out.array(recipient);
                out.bytes(sealed);
            }
            Self::Tickets(request) => request.encode(id, &mut out),
            Self::Signed { desk, from } => {
                out.head(60, id);
                out.u16(*desk);
                out.u16(*from);
            }
        }
        out.finish()
    }

    /// Reads a frame: the request's number, and the request.
    ///
    /// # Errors
    /// [`WireError`] for anything that [`Request::encode`] does not write.
    pub fn decode(frame: &'a [u8]) -> Result<(u64, Self), WireError> {
        let mut input = Reader::new(frame)?;
        let (tag, id) = input.head()?;
        let request = match tag {
            1 => Self::Hello {
                version: input.u32()?,
                cache_bytes: input.u64()?,
                cores: {
                    let count = input.u16()?;
                    (0..count).map(|_| input.u16()).collect::<Result<_, _>>()?
                },
                gates: input.flag("gates")?,
            },
            2 => Self::Generate {
                algorithm: algorithm_of(input.u8()?).ok_or(WireError::BadField("algorithm"))?,
                usage: usage_of(input.u8()?).ok_or(WireError::BadField("usage"))?,
            },
            4 => Self::Sign {
                key: KeyId(input.array()?),
                purpose: Purpose::of(input.u8()?).ok_or(WireError::BadField("purpose"))?,
                scheme: Scheme::of(input.u16()?).ok_or(WireError::BadField("scheme"))?,
                message: input.bytes()?,
                sealed: input.bytes()?,
            },
            70 => Self::Several(Questions::decode(&mut input)?),
            5 => Self::Forget { key: KeyId(input.array()?) },
            80 => Self::TakeOver { label: input.bytes()?, sealed: input.bytes()? },
            8 => Self::Ping,
            40 => Self::Busiest { skip: input.u32()? },
            41 => Self::Warm { heat: input.u64()?, sealed: input.bytes()? },
            20 => Self::Reseal(input.bytes()?),
            21 => Self::ChangeMaster(
                Step::of_status(i32::from(input.u8()?)).ok_or(WireError::BadField("step"))?,
            ),
            30 => Self::ImportKey,
            31 => Self::Import {
                algorithm: algorithm_of(input.u8()?).ok_or(WireError::BadField("algorithm"))?,
                usage: usage_of(input.u8()?).ok_or(WireError::BadField("usage"))?,
                key: KeyId(input.array()?),
                encapsulated: input.bytes()?,
                sealed: input.bytes()?,
            },
            32 => Self::Export { sealed: input.bytes()? },
            33 => Self::Deliver { recipient: input.array()?, sealed: input.bytes()? },
            50..=59 => Self::Tickets(TicketRequest::decode(tag, &mut input)?),
            60 => Self::Signed { desk: input.u16()?, from: input.u16()? },
            unknown => return Err(WireError::UnknownTag(unknown)),
        };
        input.finish()?;
        Ok((id, request))
    }
}

impl<'a> Reply<'a> {
    /// Writes the frame into `frame`, which is cleared first.
    ///
    /// # Errors
    /// [`WireError::Long`] when it is larger than a frame may be.
    pub fn encode(&self, id: u64, frame: &mut Vec<u8>) -> Result<(), WireError> {
        let mut out = Writer::new(frame);
        match self {
            Self::Welcome { pid, created, walls, gates, masters } => {
                out.head(129, id);
                out.u32(*pid);
                out.u8(u8::from(*created));
                out.u16(u16::try_from(walls.len()).map_err(|_| WireError::Long)?);
                for (wall, standing, text) in walls {
                    out.u8(*wall);
                    out.u8(*standing);
                    out.bytes(text);
                }
                out.u8(u8::from(*gates));
                out.u8(u8::try_from(masters.len()).map_err(|_| WireError::Long)?);
                for mark in masters {
                    out.u32(mark.epoch);
                    out.array(&mark.check);
                }
            }
            Self::Generated { spki, sealed } => {
                out.head(130, id);
                out.bytes(spki);
                out.bytes(sealed);
            }
            Self::Done => out.head(131, id),
            Self::Signature(signature) => {
                out.head(132, id);
                out.bytes(signature);
            }
            Self::Several(answers) => {
                out.head(198, id);
                answers.encode(&mut out);
            }
            Self::NeedBlob => out.head(133, id),
            Self::Bytes(bytes) => {
                out.head(134, id);
                out.bytes(bytes);
            }
            Self::Figures(figures) => {
                out.head(135, id);
                figures.iter().for_each(|figure| out.u64(*figure));
            }
            Self::Counts { next, counts } => {
                out.head(188, id);
                out.u16(*next);
                out.u16(u16::try_from(counts.len()).map_err(|_| WireError::Long)?);
                for Counted { key, most, inherited } in counts {
                    [key, most, inherited].into_iter().for_each(|number| out.u64(*number));
                }
            }
            Self::Busiest(keys) => {
                out.head(168, id);
                out.ranking(keys);
            }
            Self::Warmed(open) => {
                out.head(169, id);
                out.u8(u8::from(*open));
            }
            Self::Refused { code, text } => {
                out.head(136, id);
                let position = REFUSALS.iter().position(|known| known == code);
                out.u8(position.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX));
                out.bytes(text);
            }
            Self::Tickets(reply) => reply.encode(id, &mut out),
        }
        out.finish()
    }

    /// Reads a frame: the number of the request it answers, and the reply.
    ///
    /// # Errors
    /// [`WireError`] for anything that [`Reply::encode`] does not write.
    pub fn decode(frame: &'a [u8]) -> Result<(u64, Self), WireError> {
        let mut input = Reader::new(frame)?;
        let (tag, id) = input.head()?;
        let reply = match tag {
            129 => Self::Welcome {
                pid: input.u32()?,
                created: input.flag("created")?,
                walls: {
                    let count = input.u16()?;
                    (0..count)
                        .map(|_| Ok((input.u8()?, input.u8()?, input.bytes()?)))
                        .collect::<Result<_, WireError>>()?
                },
                gates: input.flag("gates")?,
                masters: match input.u8()? {
                    count @ 1..=2 => (0..count)
                        .map(|_| Ok(Mark { epoch: input.u32()?, check: input.array()? }))
                        .collect::<Result<_, WireError>>()?,
                    _ => return Err(WireError::BadField("masters")),
                },
            },
            130 => Self::Generated { spki: input.bytes()?, sealed: input.bytes()? },
            131 => Self::Done,
            132 => Self::Signature(input.bytes()?),
            198 => Self::Several(Answers::decode(&mut input)?),
            133 => Self::NeedBlob,
            134 => Self::Bytes(input.bytes()?),
            135 => Self::Figures(input.numbers()?),
            136 => Self::Refused {
                code: *REFUSALS
                    .get(usize::from(input.u8()?))
                    .ok_or(WireError::BadField("refusal"))?,
                text: input.bytes()?,
            },
            178..=187 => Self::Tickets(TicketReply::decode(tag, &mut input)?),
            188 => Self::Counts {
                next: input.u16()?,
                counts: {
                    let count = input.u16()?;
                    let mut read = || {
                        let (key, most, inherited) = (input.u64()?, input.u64()?, input.u64()?);
                        Ok(Counted { key, most, inherited })
                    };
                    (0..count).map(|_| read()).collect::<Result<_, WireError>>()?
                },
            },
            168 => Self::Busiest(input.ranking()?),
            169 => Self::Warmed(input.flag("open")?),
            unknown => return Err(WireError::UnknownTag(unknown)),
        };
        input.finish()?;
        Ok((id, reply))
    }
}

#[cfg(any(test, fuzzing))]
#[path = "wire_tests.rs"]
pub(super) mod tests;
