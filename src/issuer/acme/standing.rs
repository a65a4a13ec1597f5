//! What a CA says of an account (RFC 8555, section 7.1.2), asked by its key: nothing is opened or
//! changed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use http::Request;
use http::Response;
use http_body_util::Full;
use instant_acme::Account;
use instant_acme::BodyWrapper;
use instant_acme::BytesResponse;
use instant_acme::HttpClient;
use instant_acme::NewAccount;
use serde::Deserialize;

use super::account::AccountDesk;
use super::classify;
use super::client::CaClient;
use super::client::Hint;
use super::client::JobClient;
use super::directory::Directory;
use crate::cert::failure::Failure;
use crate::cert::key::KeyHandle;

/// The problem type of a key without an account (RFC 8555, section 7.3.1).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// The most contacts that are shown of an account.
const CONTACTS: usize = 16;

/// An account, by the word of the CA.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Its URL.
    pub url: String,
    /// `valid`, `deactivated` or `revoked`; none where the CA does not say.
    pub status: Option<String>,
    /// Its contacts; some CAs do not say them.
    pub contact: Vec<String>,
}

/// The object of an account.
#[derive(Default, Deserialize)]
struct Body {
    status: Option<String>,
    #[serde(default)]
    contact: Vec<String>,
}

/// A client that remembers the last answer, which instant-acme does not show.
struct Overhearing {
    job: JobClient,
    heard: Arc<Mutex<Bytes>>,
}

impl HttpClient for Overhearing {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let (asked, heard) = (self.job.request(request), Arc::clone(&self.heard));
        Box::pin(async move {
            let BytesResponse { parts, mut body } = asked.await?;
            let bytes = body.into_bytes().await.map_err(instant_acme::Error::Other)?;
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = bytes.clone();
            Ok(BytesResponse::from(Response::from_parts(parts, Full::new(bytes))))
        })
    }
}

impl AccountDesk {
    /// The account that has this key; none where the CA knows no such key.
    pub(super) async fn standing(
        &self,
        client: &CaClient,
        directory: &Arc<Directory>,
        key: &KeyHandle,
    ) -> Result<Option<Standing>, Failure> {
        let wanted = NewAccount {
            contact: &[],
            terms_of_service_agreed: self.options.config.accept_terms,
            only_return_existing: true,
        };
        let signatory = self.signatory(key.clone(), None)?;
        let heard = Arc::<Mutex<Bytes>>::default();
        let asking = || {
            let (signatory, directory) = (Arc::clone(&signatory), Arc::clone(directory));
            let job = JobClient::new(client.clone(), signatory, directory, Hint::default());
            Account::builder_with_http(Box::new(Overhearing { job, heard: Arc::clone(&heard) }))
        };
        let found = insist!(asking().create(&wanted, directory.url.clone(), None).await);
        match found {
            Ok((account, _nobodys)) => {
                let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                let Body { status, contact } = serde_json::from_slice(&heard).unwrap_or_default();
                let clean = |text: String| classify::clean(&text);
                Ok(Some(Standing {
                    url: account.id().to_owned(),
                    status: status.map(clean),
                    contact: contact.into_iter().take(CONTACTS).map(clean).collect(),
                }))
            }
            Err(error) if classify::problem_type(&error) == Some(NO_ACCOUNT) => Ok(None),
            Err(error) => Err(classify::request(&error, self.options.clock.now())),
        }
    }
}
