//! The one target of the model, for what the host itself runs there: locks and what cleans up. The way to it breaks as well.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::world::{Fate, World};
use crate::effect::{Target, Targets};
use crate::error::Result;
use crate::transport::{
    Cancel, Command, Connection, Exit, Fence, Local, Transport, TransportError, Watch,
};

/// The way to the target, for what the host itself runs there: locks and what cleans up. It breaks as well.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) world: Arc<World>,
    /// The boot at the last contact.
    pub(super) boot: Mutex<Option<String>>,
}

impl Way {
    fn moment(&self) -> Result<(), TransportError> {
        match self.world.moment() {
            None => Ok(()),
            Some(Fate::Die) => Err(TransportError::Cancelled),
            Some(_) => {
                Err(TransportError::Lost { target: "t".to_owned(), why: "it broke".to_owned() })
            }
        }
    }
}

impl Transport for Way {
    fn exec(
        &self,
        command: &Command,
        cancel: &Cancel,
        watch: Watch<'_>,
    ) -> Result<Exit, TransportError> {
        self.moment()?;
        let boot = self.world.boot();
        *self.boot.lock().unwrap() = Some(boot.clone());
        // The boots of the model are not those of this machine.
        let mut command = command.clone();
        if let Some(fence) = &mut command.fence
            && fence.boot.take().is_some_and(|right| right != boot)
        {
            return Ok(Fence::held_back());
        }
        let exit = Local.exec(&command, cancel, watch)?;
        self.moment()?;
        Ok(exit)
    }

    fn connect(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> Result<Box<dyn Connection>, TransportError> {
        Local.connect(host, port, timeout)
    }

    fn describe(&self) -> String {
        "the model".to_owned()
    }

    fn own_address(&self) -> Option<IpAddr> {
        None
    }

    fn boot_id(&self) -> Option<String> {
        self.boot.lock().unwrap().clone()
    }
}

#[derive(Debug)]
pub(super) struct One(pub(super) Arc<Target>);

impl Targets for One {
    fn get(&self, _name: &str) -> Result<Arc<Target>> {
        Ok(Arc::clone(&self.0))
    }

    fn select(&self, _selector: &str) -> Result<Vec<String>> {
        Ok(vec![self.0.name.clone()])
    }
}
