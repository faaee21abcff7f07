//! Certificate authorities and what they issue, made anew for each test.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use std::sync::atomic::{AtomicU64, Ordering};

/// When a certificate may be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Time {
    Past,
    Now,
    Future,
}

/// An authority.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Issued {
    pub pem: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Of two authorities with one name the wrong one would be asked, and not be unknown.
        let name = format!("authority {}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    pub fn issue(&self, name: &str) -> Issued {
        self.issue_for(name, Time::Now)
    }

    pub fn issue_for(&self, name: &str, time: Time) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        match time {
            Time::Past => params.not_after = date_time_ymd(2001, 1, 1),
            Time::Now => {}
            Time::Future => params.not_before = date_time_ymd(3001, 1, 1),
        }
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { pem, key: key.serialize_pem() }
    }
}
