//! What may stand where a server is told where to listen.

use std::net::SocketAddr;
use std::path::PathBuf;

use corelane_runtime::Address;

use crate::error::StartError;

/// One or more addresses: `"0.0.0.0:50051"`, `"unix:/run/greeter.sock"`, a [`SocketAddr`], an [`Address`], or an array,
/// slice or vector of them.
pub trait ToAddresses {
    /// The addresses.
    ///
    /// # Errors
    /// A text that is no address.
    fn to_addresses(&self) -> Result<Vec<Address>, StartError>;
}

impl ToAddresses for str {
    fn to_addresses(&self) -> Result<Vec<Address>, StartError> {
        match self.parse() {
            Ok(Address::Unix(path)) if path == PathBuf::new() => {
                Err(StartError::NoAddress { text: self.to_owned() })
            }
            Ok(address) => Ok(vec![address]),
            Err(_) => Err(StartError::NoAddress { text: self.to_owned() }),
        }
    }
}

impl ToAddresses for String {
    fn to_addresses(&self) -> Result<Vec<Address>, StartError> {
        self.as_str().to_addresses()
    }
}

impl ToAddresses for SocketAddr {
    fn to_addresses(&self) -> Result<Vec<Address>, StartError> {
        Ok(vec![Address::from(*self)])
    }
}

impl ToAddresses for Address {
    fn to_addresses(&self) -> Result<Vec<Address>, StartError> {
        Ok(vec![self.clone()])
    }
}

impl<T: ToAddresses + ?Sized> ToAddresses for &T {
    fn to_addresses(&self) -> Result<Vec<Address>, StartError> {
        (**self).to_addresses()
    }
}

impl<T: ToAddresses> ToAddresses for [T] {
    fn to_addresses(&self) -> Result<Vec<Address>, StartError> {
        let mut all = Vec::with_capacity(self.len());
        for one in self {
            all.extend(one.to_addresses()?);
        }
        Ok(all)
    }
}

impl<T: ToAddresses, const N: usize> ToAddresses for [T; N] {
    fn to_addresses(&self) -> Result<Vec<Address>, StartError> {
        self.as_slice().to_addresses()
    }
}

impl<T: ToAddresses> ToAddresses for Vec<T> {
    fn to_addresses(&self) -> Result<Vec<Address>, StartError> {
        self.as_slice().to_addresses()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_sockets_and_lists_of_them_are_addresses() {
        let tcp: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert_eq!("127.0.0.1:1".to_addresses().unwrap(), [Address::Tcp(tcp)]);
        assert_eq!(tcp.to_addresses().unwrap(), [Address::Tcp(tcp)]);
        let both = ["[::1]:2", "unix:/run/a.sock"].to_addresses().unwrap();
        assert_eq!(both[1], Address::Unix("/run/a.sock".into()));
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in ["", "50051", "localhost:50051", "unix:", "http://127.0.0.1:1"] {
            let error = text.to_addresses().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{text:?} is not an address: give an IP address and a port, or unix:/path")
            );
        }
    }
}
