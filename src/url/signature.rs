//! Recognizes query parameters that change each time a server signs a URL, and so are not part of the file's identity.

/// The parameter names of each kind of signature, in lower case: required ones, then optional ones. A name is matched
/// only as part of its signature. Alone it may mean anything, and some names with the same prefix choose what the
/// server sends (`x-oss-process`).
const GROUPS: [(&[&str], &[&str]); 10] = [
    // Amazon S3, version 4, and the schemes modelled on it: Google Cloud Storage and Alibaba OSS.
    (
        &["x-amz-signature"],
        &[
            "x-amz-algorithm",
            "x-amz-credential",
            "x-amz-date",
            "x-amz-expires",
            "x-amz-signedheaders",
            "x-amz-security-token",
            "x-amz-content-sha256",
        ],
    ),
    (
        &["x-goog-signature"],
        &["x-goog-algorithm", "x-goog-credential", "x-goog-date", "x-goog-expires", "x-goog-signedheaders"],
    ),
    (
        &["x-oss-signature"],
        &[
            "x-oss-signature-version",
            "x-oss-credential",
            "x-oss-date",
            "x-oss-expires",
            "x-oss-additional-headers",
            "x-oss-security-token",
        ],
    ),
    // Amazon S3, version 2, and the schemes modelled on it.
    (&["awsaccesskeyid", "signature", "expires"], &[]),
    (&["googleaccessid", "signature", "expires"], &[]),
    (&["ossaccesskeyid", "signature", "expires"], &["security-token"]),
    // Tencent COS.
    (
        &["q-signature"],
        &[
            "q-sign-algorithm",
            "q-ak",
            "q-sign-time",
            "q-key-time",
            "q-header-list",
            "q-url-param-list",
            "x-cos-security-token",
        ],
    ),
    // Amazon CloudFront, with a canned or a custom policy.
    (&["key-pair-id", "signature", "expires"], &["hash-algorithm"]),
    (&["key-pair-id", "signature", "policy"], &["hash-algorithm"]),
    // Azure shared access signatures, to which GitHub adds a token.
    (
        &["sig", "sv"],
        &[
            "se", "st", "sp", "sr", "spr", "sip", "si", "ss", "srt", "sks", "skv", "ske", "skt", "skoid", "sktid",
            "sdd", "saoid", "suoid", "scid", "jwt",
        ],
    ),
];

/// Removes the parameters of known signatures from a query.
pub fn without_signature(query: &str) -> String {
    let name = |parameter: &str| parameter.split('=').next().unwrap_or_default().to_ascii_lowercase();
    let names: Vec<_> = query.split('&').map(name).collect();
    let has = |wanted: &&str| names.iter().any(|name| name == wanted);
    let groups: Vec<_> = GROUPS.iter().filter(|(required, _)| required.iter().all(has)).collect();
    let is_signed =
        |name: &str| groups.iter().any(|(required, optional)| required.contains(&name) || optional.contains(&name));
    let parameters = query.split('&').zip(&names).filter(|(_, name)| !is_signed(name));
    parameters.map(|(parameter, _)| parameter).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signature_parameters_are_removed() {
        for (query, rest) in [
            ("", ""),
            ("id=5&version=2", "id=5&version=2"),
            ("X-Amz-Algorithm=a&X-Amz-Date=d&versionId=7&X-Amz-Signature=s", "versionId=7"),
            ("GoogleAccessId=g&Expires=1&Signature=s%3D&generation=3", "generation=3"),
            ("AWSAccessKeyId=k&Signature=s&Expires=1", ""),
            ("Signature=s&Expires=1", "Signature=s&Expires=1"),
            ("Policy=p&Signature=s&Key-Pair-Id=k&file=x", "file=x"),
            ("sv=2022&se=2026&sr=b&sp=r&sig=abc&snapshot=1", "snapshot=1"),
            ("x-oss-process=image/resize&x-oss-signature=s&x-oss-date=d", "x-oss-process=image/resize"),
            ("x-amz-date=d&x-goog-meta=m", "x-amz-date=d&x-goog-meta=m"),
            ("q-sign-algorithm=sha1&q-ak=k&q-sign-time=t&q-key-time=t&q-signature=s&versionId=2", "versionId=2"),
            ("sp=r&sv=2018&sr=b&skoid=o&sig=s&jwt=j&rscd=attachment", "rscd=attachment"),
            ("sig=1", "sig=1"),
            ("sp=2&sr=1", "sp=2&sr=1"),
            ("token=t&expires=1", "token=t&expires=1"),
        ] {
            assert_eq!(without_signature(query), rest, "{query}");
        }
    }
}
