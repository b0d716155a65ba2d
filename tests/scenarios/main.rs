//! What an operator does with the broker, from the first start to the last, with the tools at hand.

mod abroad;
mod acl_diff;
mod authoring;
mod configuration;
mod database_outage;
mod explain;
mod first_light;
mod go_auth;
mod grants;
mod hot_swap;
mod imports;
mod own_queries;
mod site;
mod store;
mod sys;
mod tenants;
mod versions;
