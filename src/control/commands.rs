//! What the operator wants of a running server, on its way to the control task.

use std::sync::Arc;

use crate::proto::turn::Reconfiguration;
use crate::proto::types::limits;
use crate::ring;
use crate::ring::Receiver;
use crate::ring::Sender;
use crate::ring::Wake;

/// One thing that the operator wants.
#[derive(Debug)]
pub enum Order {
    /// Go on with these settings.
    Reconfigure(Box<Reconfiguration>),
}

/// The end that gives orders. The control task takes them one by one, each when the one before is carried out.
#[derive(Debug)]
pub struct Commands(Sender<Order>);

impl Commands {
    /// Both ends, for a control task that sleeps on `wake`: the other one is for [`super::Control::obeying`].
    #[must_use]
    pub fn new(wake: Arc<Wake>) -> (Self, Receiver<Order>) {
        let (sender, receiver) = ring::channel(limits::ORDERS_MAX, wake);
        (Self(sender), receiver)
    }

    /// Gives an order and wakes the control task.
    ///
    /// # Errors
    /// Gives it back where [`limits::ORDERS_MAX`] wait already, or the control task is gone.
    pub fn give(&mut self, order: Order) -> Result<(), Order> {
        if self.0.is_abandoned() {
            return Err(order);
        }
        self.0.push(order)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::proto::auth::credential::CredentialConfig;
    use crate::proto::auth::credential::Credentials;
    use crate::proto::auth::token::TokenConfig;
    use crate::proto::peers::PolicyBuilder;
    use crate::proto::types::ChannelNumber;
    use crate::proto::types::Lifetime;

    use super::*;

    #[test]
    fn orders_come_in_their_order_and_so_many_wait_and_no_more() {
        let (mut commands, mut orders) = Commands::new(wake());
        for quota in 0..limits::ORDERS_MAX as u32 {
            commands.give(order(quota)).expect("there is room");
        }
        commands.give(order(99)).expect_err("there is no room");
        for quota in 0..limits::ORDERS_MAX as u32 {
            let Some(Order::Reconfigure(to)) = orders.pop() else { panic!("an order waits") };
            assert_eq!(to.allocations_per_user, quota);
        }
        assert!(orders.is_empty());
    }

    #[test]
    fn nobody_takes_orders_for_a_task_that_is_gone() {
        let (mut commands, orders) = Commands::new(wake());
        drop(orders);
        commands.give(order(1)).expect_err("nobody is there");
    }

    fn wake() -> Arc<Wake> {
        Arc::new(Wake::new().expect("an eventfd"))
    }

    fn order(allocations_per_user: u32) -> Order {
        let hour = Duration::from_secs(3_600);
        let credentials = CredentialConfig {
            realm: "edge.example.net".into(),
            users: Vec::new(),
            secrets: Vec::new(),
            lifetime_max_s: 1,
            tokens: TokenConfig::default(),
            mras: Vec::new(),
        };
        Order::Reconfigure(Box::new(Reconfiguration {
            credentials: Arc::new(Credentials::new(credentials)),
            policy: Arc::new(PolicyBuilder::default().build()),
            nonce_lifetime: hour,
            lifetime_default: Lifetime::from_secs(600),
            lifetime_max: Lifetime::from_secs(3_600),
            permission_lifetime: hour,
            channel_number_max: ChannelNumber::MAX,
            channel_lifetime: hour,
            session_lifetime_max: hour,
            allocations_per_user,
            allocations_per_address: 0,
            mobility: false,
            legacy: crate::proto::turn::LegacyConfig::default(),
        }))
    }
}
