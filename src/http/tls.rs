//! Explains errors of rustls, whose own words are for programmers.

use std::error::Error as StdError;

use rustls::CertificateError as Certificate;

/// Says in plain words why TLS failed, if this is an error of rustls; `None` where its own words are plain.
pub fn explain_tls(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    Some(match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(problem) => match problem {
            Certificate::Expired | Certificate::ExpiredContext { .. } => "the server's certificate has expired",
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet, or this computer's clock is slow"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "the server's certificate is for another host name"
            }
            Certificate::UnknownIssuer => {
                "the server's certificate is from an authority that this system does not know"
            }
            Certificate::Revoked => "the server's certificate has been revoked",
            Certificate::BadSignature => "the signature of the server's certificate is wrong",
            Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
                "the server's certificate is not meant for servers"
            }
            // Among others, that of an authority in place of a server's.
            _ => "the server's certificate is not one that a server may use",
        },
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS; is the URL's scheme http?",
        rustls::Error::AlertReceived(_) => "the server refused the TLS connection",
        _ => return None,
    })
}
