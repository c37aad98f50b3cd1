//! Which settings of OpenSSH's client matter to a connection of ours.

/// Settings that are honoured.
pub(super) const HONOURED: &[&str] = &[
    "addressfamily",
    "batchmode",
    "certificatefile",
    "ciphers",
    "connecttimeout",
    "globalknownhostsfile",
    "hostkeyalgorithms",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "kbdinteractiveauthentication",
    "kexalgorithms",
    "macs",
    "passwordauthentication",
    "port",
    "preferredauthentications",
    "proxyjump",
    "pubkeyacceptedalgorithms",
    "pubkeyauthentication",
    "requiredrsasize",
    "user",
    "userknownhostsfile",
];

/// Settings that would make a difference, and why they cannot be honoured.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("bindaddress", "connections leave by the address that the system chooses"),
    ("bindinterface", "connections leave by the interface that the system chooses"),
    ("hostbasedauthentication", "hosts do not log in for their users"),
    ("knownhostscommand", "host keys are read from files only"),
    ("pkcs11provider", "keys on tokens are used through an agent only"),
    ("refuseconnection", "it forbids connections to this host"),
    ("revokedhostkeys", "revoked host keys are read from `@revoked` lines of known hosts only"),
    ("securitykeyprovider", "keys on tokens are used through an agent only"),
];

/// Settings that relax the check of host keys, with the values that do. They are not honoured, which is said where a key
/// is refused.
pub(super) const RELAXING: &[(&str, &[&str])] = &[
    ("nohostauthenticationforlocalhost", &["yes", "true"]),
    ("stricthostkeychecking", &["no", "off", "false", "accept-new"]),
    ("verifyhostkeydns", &["yes", "true"]),
];

/// Settings that make no difference to what is run over the connection, or that concern what is never done: forwarding,
/// terminals, sharing of connections, output.
pub(super) const IGNORED: &[&str] = &[
    "addkeystoagent",
    "casignaturealgorithms",
    "challengeresponseauthentication",
    "channeltimeout",
    "checkhostip",
    "clearallforwardings",
    "compression",
    "connectionattempts",
    "dynamicforward",
    "enableescapecommandline",
    "enablesshkeysign",
    "escapechar",
    "exitonforwardfailure",
    "fingerprinthash",
    "forkafterauthentication",
    "gatewayports",
    "hashknownhosts",
    "host",
    "hostbasedacceptedalgorithms",
    "hostbasedkeytypes",
    "ignoreunknown",
    "ipqos",
    "localcommand",
    "localforward",
    "loglevel",
    "logverbose",
    "numberofpasswordprompts",
    "obscurekeystroketiming",
    "permitlocalcommand",
    "permitremoteopen",
    "proxyusefdpass",
    "rekeylimit",
    "remotecommand",
    "remoteforward",
    "requesttty",
    "sendenv",
    "serveralivecountmax",
    "serveraliveinterval",
    "sessiontype",
    "setenv",
    "stdinnull",
    "syslogfacility",
    "tag",
    "tcpkeepalive",
    "tunnel",
    "tunneldevice",
    "updatehostkeys",
    "useprivilegedport",
    "versionaddendum",
    "visualhostkey",
    "warnweakcrypto",
    "xauthlocation",
];

/// Families of such settings.
const IGNORED_FAMILIES: &[&str] = &[
    "canonical",
    "control",
    "forwardagent",
    "forwardx11",
    "gssapi",
    "streamlocalbind",
    "usekeychain",
];

/// Returns whether a setting makes no difference. What is not known does.
pub(super) fn is_ignored(keyword: &str) -> bool {
    IGNORED.contains(&keyword) || IGNORED_FAMILIES.iter().any(|family| keyword.starts_with(family))
}

/// Returns whether a line with this keyword makes it worth asking `ssh`.
pub(super) fn is_relevant(keyword: &str) -> bool {
    // Canonical names change the host itself, unlike the answer that they leave in the output.
    keyword == "canonicalizehostname"
        || !(is_ignored(keyword) || matches!(keyword, "host" | "match" | "include"))
}
