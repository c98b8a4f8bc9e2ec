//! The port [`Broker`](postrider_core::ports::Broker) on RabbitMQ's quorum queues.
