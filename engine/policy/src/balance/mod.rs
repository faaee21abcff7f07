//! Where a call goes: policies that pick one of many endpoints.
