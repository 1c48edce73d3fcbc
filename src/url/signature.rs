//! Parameters of a query that are new each time a server signs a URL, and so say nothing of the file.

/// Parameters whose name alone tells that they belong to a signature: Amazon's, Google's, Alibaba's and Tencent's.
const PREFIXES: [&str; 4] = ["x-amz-", "x-goog-", "x-oss-", "q-sign-"];

/// Names that belong to a signature where all of a group's first names are there, for alone they may be anything. In lower
/// case.
const GROUPS: [(&[&str], &[&str]); 5] = [
    // Amazon S3, version 2, and Google Cloud Storage and Alibaba OSS after it.
    (&["awsaccesskeyid", "signature", "expires"], &[]),
    (&["googleaccessid", "signature", "expires"], &[]),
    (&["ossaccesskeyid", "signature", "expires"], &["security-token"]),
    // Amazon CloudFront, with a canned or a custom policy.
    (&["key-pair-id", "signature"], &["expires", "policy", "hash-algorithm"]),
    // A shared access signature of Azure.
    (
        &["sig", "sv"],
        &[
            "se", "st", "sp", "sr", "spr", "sip", "si", "ss", "srt", "sks", "skv", "ske", "skt", "skoid", "sktid",
            "sdd", "saoid", "suoid", "scid",
        ],
    ),
];

/// A query without the parameters of a known signature. The others stay as they are.
pub fn without_signature(query: &str) -> String {
    let name = |parameter: &str| parameter.split('=').next().unwrap_or_default().to_ascii_lowercase();
    let names: Vec<_> = query.split('&').map(name).collect();
    let has = |wanted: &&str| names.iter().any(|name| name == wanted);
    let groups: Vec<_> = GROUPS.iter().filter(|(marks, _)| marks.iter().all(has)).collect();
    let is_signed = |name: &str| {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || groups.iter().any(|(marks, others)| marks.contains(&name) || others.contains(&name))
    };
    let parameters = query.split('&').zip(&names).filter(|(_, name)| !is_signed(name));
    parameters.map(|(parameter, _)| parameter).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parameters_of_a_signature_go() {
        for (query, rest) in [
            ("", ""),
            ("id=5&version=2", "id=5&version=2"),
            ("X-Amz-Algorithm=a&X-Amz-Date=d&versionId=7&X-Amz-Signature=s", "versionId=7"),
            ("GoogleAccessId=g&Expires=1&Signature=s%3D&generation=3", "generation=3"),
            ("AWSAccessKeyId=k&Signature=s&Expires=1", ""),
            ("Signature=s&Expires=1", "Signature=s&Expires=1"),
            ("Policy=p&Signature=s&Key-Pair-Id=k&file=x", "file=x"),
            ("sv=2022&se=2026&sr=b&sp=r&sig=abc&snapshot=1", "snapshot=1"),
            ("sig=1", "sig=1"),
            ("sp=2&sr=1", "sp=2&sr=1"),
            ("token=t&expires=1", "token=t&expires=1"),
        ] {
            assert_eq!(without_signature(query), rest, "{query}");
        }
    }
}
