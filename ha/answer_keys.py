"""The keys of answer files: upstream's, by group, and which of them are secrets.

A key that is none of these is kept, as upstream has had others; one that looks misspelt is not.
"""

import difflib
from collections.abc import Collection

_GROUPS = {
    "CORE": """deployProceed screenProceed confirmSettings forceIpProceed enableKeycloak
        restoreFromFile renewPKIonRestore pauseonRestore checkRequirements memCheckRequirements
        upgradeProceed additionalHostEnabled isAdditionalHost""",
    "NETWORK": """fqdn bridgeIf bridgeName gateway firewallManager network_test
        network_test_tcp_address network_test_tcp_port forceIPv4 forceIPv6 host_name sshdPort""",
    "ENGINE": """clusterName datacenterName adminPassword adminUsername appHostName insecureSSL
        engineSetupTimeout enableHcGlusterService""",
    "STORAGE": """domainType storageDomainConnection storageDomainName storageDatacenterName
        connectionUUID sdUUID spUUID imgUUID volUUID vgUUID imgSizeGB nfsVersion mntOptions
        iSCSIPortalIPAddress iSCSIPortalPort iSCSIPortal iSCSIPortalUser iSCSIPortalPassword
        iSCSIDiscoverUser iSCSIDiscoverPassword iSCSITargetName LunID discardSupport
        metadataVolumeUUID metadataImageUUID lockspaceVolumeUUID lockspaceImageUUID confImageUUID
        confVolUUID hostID""",
    "VM": """vmUUID vmMemSizeMB vmVCpus vmMACAddr vmCDRom vmBoot ovfArchive emulatedMachine
        cdromUUID nicUUID consoleUUID automateVMShutdown cloudInitISO cloudinitInstanceHostName
        cloudinitInstanceDomainName cloudinitExecuteEngineSetup cloudinitVMStaticCIDR
        cloudinitVMDNS cloudinitVMETCHOSTS cloudinitVMTZ cloudinitRootPwd rootSshPubkey
        rootSshAccess applyOpenScapProfile OpenScapProfileName enableFips applianceVersion""",
    "VDSM": "consoleType cpu caSubject pkiSubject passwd useSSL",
    "NOTIF": "smtpServer smtpPort sourceEmail destEmail",
}
KNOWN = frozenset(
    f"OVEHOSTED_{group}/{name}" for group, names in _GROUPS.items() for name in names.split()
)
# Upstream keeps these out of every generated file.
SECRETS = frozenset(
    {
        "OVEHOSTED_ENGINE/adminPassword",
        "OVEHOSTED_STORAGE/iSCSIPortalPassword",
        "OVEHOSTED_STORAGE/iSCSIDiscoverPassword",
        "OVEHOSTED_VM/cloudinitRootPwd",
        "OVEHOSTED_VDSM/passwd",
    }
)
_LIKENESS = 0.8


def likely(key: str, written: Collection[str]) -> str:
    """Return the known key that was probably meant by an unknown one, or an empty text."""
    if key in KNOWN:
        return ""
    group, _, name = key.partition("/")
    for known in sorted(KNOWN - set(written)):
        known_group, _, known_name = known.partition("/")
        if _alike(group, known_group) and _alike(name, known_name):
            return known
    return ""


def _alike(one: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio() >= _LIKENESS
