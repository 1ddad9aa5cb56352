"""Wire formats: conversion of domain objects to messages and back, without I/O."""
